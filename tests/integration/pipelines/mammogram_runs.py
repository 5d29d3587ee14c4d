"""Mammograms that are run, and what the tests read in their results."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import Refused
from pipelines.pages import NOTHING_MORE, Wanted
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.quantities import CERTAINTY
from storage.records import JobResult, ObjectKind
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import (
    NUMBERS,
    VIEWS,
    classes,
    inputs,
    write_one_view,
)

SPOT = (slice(4, 10), slice(20, 25))


def per_view(tmp_path: Path, *points: float, **changes: Any) -> RegisteredPipeline:
    if not (tmp_path / "tiny").exists():
        write_one_view(tmp_path / "tiny")
    told = {**classes(*(points or (0.6, 0.99))), "inputs": inputs(), **changes}
    return register(definition(several_projections="per_view", **told), tmp_path)


def run(
    registered: RegisteredPipeline, tmp_path: Path, out: str = "out", wanted: Wanted = NOTHING_MORE
) -> JobResult:
    at = datetime(2024, 1, 15, tzinfo=UTC)
    return run_study(
        registered, tmp_path / "in", tmp_path / out, device="cpu", wanted=wanted, content_time=at
    )


def certainties(result: JobResult, label: str = "Cyst") -> dict[str, float]:
    return {
        m.structure.removeprefix(label).strip(" ()"): m.value
        for m in result.measurements
        if m.quantity == CERTAINTY and m.structure.startswith(label)
    }


def items(node: Dataset) -> Any:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def groups(report: Dataset) -> dict[str, Dataset]:
    """Measurement groups by their Tracking Identifier."""
    return {
        next(
            str(i.TextValue)
            for i in item.ContentSequence
            if i.ConceptNameCodeSequence[0].CodeValue == "112039"
        ): item
        for item in items(report)
        if item.ConceptNameCodeSequence[0].CodeValue == "125007"
    }


def images_of(group: Dataset, name: str) -> list[str]:
    return [
        str(i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for i in group.ContentSequence
        if i.ConceptNameCodeSequence[0].CodeValue == name
    ]


def uid(role: str) -> str:
    return f"2.25.3100.{NUMBERS[role]}"


def heats(result: JobResult, folder: Path) -> dict[str, Dataset]:
    """Heat maps by the role of the image that they name."""
    by_uid = {uid(role): role for role in VIEWS}
    made = [one for one in result.objects if one.kind is ObjectKind.HEAT]
    read = [dcmread(folder / one.path) for one in made]
    found: dict[str, Dataset] = {}
    found |= {by_uid[p.SourceImageSequence[0].ReferencedSOPInstanceUID]: p for p in read}
    assert len(found) == len(read)
    return found


def hot(picture: Dataset) -> NDArray[np.bool_]:
    rgb = picture.pixel_array.astype(int)
    found: NDArray[np.bool_] = (rgb.max(axis=-1) - rgb.min(axis=-1)) > 0
    return found


def centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.argwhere(mask).mean(axis=0)
    return found


def refused(registered: RegisteredPipeline, tmp_path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        run(registered, tmp_path)
    return caught.value
