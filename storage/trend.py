"""How a measurement went since earlier studies; PDF, FHIR and HL7 say the same of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage.prior_records import PriorMeasurement, PriorResult
from storage.records import MeasurementRecord


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """An earlier value; `change_percent` is how far the current one is above it.

    `value` is None when the structure was absent, or was not looked for (`was_measured` False).
    """

    study_date: str
    was_measured: bool
    value: float | None = None
    change_percent: float | None = None


def trend(measurement: MeasurementRecord, priors: Iterable[PriorResult]) -> tuple[TrendPoint, ...]:
    """How the same quantity of the same structure stood in each earlier study, in their order.

    Two measurements are the same by Tracking Identifier, quantity and unit.
    """
    return tuple(_point(measurement, prior) for prior in priors)


def iso_date(study_date: str) -> str:
    """A DICOM date as YYYY-MM-DD."""
    return f"{study_date[:4]}-{study_date[4:6]}-{study_date[6:]}"


def change_text(point: TrendPoint) -> str:
    """The change with its sign, as in `+4.2 %`; empty where nothing can be compared."""
    return "" if point.change_percent is None else f"{point.change_percent:+.1f} %"


def _point(measurement: MeasurementRecord, prior: PriorResult) -> TrendPoint:
    found = next((one for one in prior.measurements if _is_same(one, measurement)), None)
    if found is None:
        return TrendPoint(prior.study_date, was_measured=False)
    if not found.is_present:
        return TrendPoint(prior.study_date, was_measured=True)
    can_compare = measurement.is_present and found.value != 0
    change = 100.0 * (measurement.value - found.value) / found.value if can_compare else None
    return TrendPoint(prior.study_date, True, found.value, change)


def _is_same(prior: PriorMeasurement, current: MeasurementRecord) -> bool:
    key = prior.tracking_identifier, prior.quantity.value, prior.quantity.scheme, prior.unit.value
    quantity, unit = current.quantity, current.unit
    return key == (current.tracking_identifier, quantity.value, quantity.scheme, unit.value)
