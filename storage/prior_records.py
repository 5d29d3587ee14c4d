"""Earlier results of the same patient and pipeline, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storage.dicom_records import CodedConcept


@dataclass(frozen=True, slots=True)
class PriorMeasurement:
    """One quantity of one structure in an earlier study; absent ones have value 0."""

    tracking_identifier: str
    quantity: CodedConcept
    unit: CodedConcept
    value: float
    is_present: bool


@dataclass(frozen=True, slots=True)
class PriorResult:
    """What the same pipeline measured in an earlier study of the same patient.

    `study_date` is a DICOM date (YYYYMMDD). Versions may differ: `algorithm_version` tells.
    """

    study_date: str
    algorithm_version: str
    measurements: tuple[PriorMeasurement, ...]

    def to_json(self) -> dict[str, Any]:
        """The record for a JSON column."""
        return asdict(self) | {"measurements": [asdict(one) for one in self.measurements]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PriorResult:
        """The record from a JSON column."""
        measured = tuple(_measurement(one) for one in value["measurements"])
        return cls(value["study_date"], value["algorithm_version"], measured)


def _measurement(value: Mapping[str, Any]) -> PriorMeasurement:
    codes = {name: CodedConcept(**value[name]) for name in ("quantity", "unit")}
    return PriorMeasurement(**{**value, **codes})
