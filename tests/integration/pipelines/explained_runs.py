"""Classifiers that are run with heat maps, and what the tests read in their results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.pages import Wanted
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.records import JobResult, ObjectKind
from tests.unit.pipelines.bright_spot import BRIGHT, write_bright_spot
from tests.unit.pipelines.definitions import definition

PAGES = Wanted(frozenset({ObjectKind.PDF, ObjectKind.SC}))
CPU = torch.device("cpu")


def spots(shape: tuple[int, int, int] = (8, 12, 10)) -> NDArray[np.uint16]:
    """Two bright spots of different size and brightness, nowhere symmetric."""
    voxels = np.random.default_rng(2).integers(0, 200, shape).astype(np.uint16)
    voxels[1:3, 2:5, 6:8] = 900
    voxels[5, 8, 1] = 600
    return voxels


def expected(voxels: NDArray[Any]) -> NDArray[np.float64]:
    heat = np.clip(voxels.astype(np.float64) - BRIGHT, 0, None)
    share: NDArray[np.float64] = heat / heat.max()
    return share


def offered(folder: Path, changes: dict[str, Any], **bundle: Any) -> RegisteredPipeline:
    write_bright_spot(folder / "tiny", **bundle)
    return register(definition(**changes), folder)


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    at = datetime(2024, 1, 15, tzinfo=UTC)
    return run_study(
        registered, tmp_path / "in", tmp_path / out, device="cpu", content_time=at, wanted=PAGES
    )


def pictures(result: JobResult, folder: Path) -> list[Dataset]:
    made = [one for one in result.objects if one.path.name.startswith("heat-")]
    return [dcmread(folder / one.path) for one in made]


def heat_of(picture: Dataset) -> NDArray[np.int64]:
    """How coloured each pixel is: grey ones have three equal values."""
    rgb = picture.pixel_array.astype(int)
    heat: NDArray[np.int64] = rgb.max(axis=-1) - rgb.min(axis=-1)
    return heat


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)
