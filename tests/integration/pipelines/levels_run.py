"""A pipeline that tells three levels apart, and how the tests run it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.objects.station import Station
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import RunRequest, run_pipeline
from storage.records import JobResult
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.threshold_bundle import write_bundle


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> RegisteredPipeline:
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "two_levels")
    return register(definition(), folder)


def levels() -> NDArray[np.uint16]:
    """Background 50, a block of 140 voxels at 150 and, on other slices, one of 24 at 250."""
    stored = np.full((8, 16, 20), 50, dtype=np.uint16)
    stored[1:5, 2:9, 3:8] = 150
    stored[5:7, 4:8, 10:13] = 250
    return stored


def run(
    offered: RegisteredPipeline, data_dir: Path, paths: list[Path], **changes: Any
) -> JobResult:
    request: dict[str, Any] = {
        "registered": offered,
        "inputs": {"image": tuple(paths)},
        "input_digest": "d1",
        "data_dir": data_dir,
        "out_dir": data_dir / "results" / "1",
        "device": "cpu",
        "station": Station("node-1", "RADNODE", "Hospital", "0.1"),
        "content_time": datetime(2024, 1, 15, 10, 0, tzinfo=UTC),
    }
    request.update(changes)
    request["out_dir"].mkdir(parents=True, exist_ok=True)
    return run_pipeline(RunRequest(**request))


def written(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (data_dir / "results" / "1").iterdir()}
