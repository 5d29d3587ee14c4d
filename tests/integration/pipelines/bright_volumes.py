"""Volumes with bright spots, and classifiers that look for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.class_cases import class_cases
from pipelines.class_run import judge_of
from pipelines.explaining import explainer_of, placed_map
from pipelines.explanation_schema import Explanation
from pipelines.model_loading import load_model
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from pipelines.series_volume import SeriesVolume
from storage.records import JobResult
from tests.unit.pipelines.bright_spot import (
    bright_spot_state,
    explained_classes,
)
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.projections import DX

CPU = torch.device("cpu")

SPOT = (slice(1, 3), slice(3, 6), slice(10, 13))
"""The brightest block of `volume_of_spots`, far from the middle on every axis."""

LABELS = {0: "nothing", 1: "cyst", 2: "mass"}


def volume_of_spots() -> NDArray[np.uint16]:
    voxels = np.random.default_rng(2).integers(0, 200, (10, 16, 14)).astype(np.uint16)
    voxels[SPOT] = 900
    voxels[7, 12, 2] = 500
    return voxels


def write_script(folder: Path, dimensions: int) -> None:
    """The bright spot's network as a TorchScript file, of whose inside nothing can be seen."""
    conv, pool = getattr(torch.nn, f"Conv{dimensions}d"), f"AdaptiveAvgPool{dimensions}d"
    network = torch.nn.Sequential(
        conv(1, 1, 1),
        torch.nn.ReLU(),
        getattr(torch.nn, pool)(1),
        torch.nn.Flatten(),
        torch.nn.Linear(1, 3),
    )
    network.load_state_dict(bright_spot_state(dimensions))
    script: Any = torch.jit.script(network.eval())
    folder.mkdir(parents=True, exist_ok=True)
    script.save(str(folder / "spot.ts"))


def scripted(
    tmp_path: Path, dimensions: int, network: dict[str, Any] | None = None, **changes: Any
) -> RegisteredPipeline:
    write_script(tmp_path, dimensions)
    told = {**explained_classes(0.1, 0.9), "bundle": "spot.ts", **changes}
    told["network"] = {"labels": LABELS, **(network or {})}
    if dimensions == 2:
        told["inputs"] = {"image": DX}
    return register(definition(**{**told, "explanation": changes.get("explanation", {})}), tmp_path)


def map_of(registered: RegisteredPipeline, volume: SeriesVolume) -> NDArray[np.float32]:
    bundle = load_model(registered, CPU)
    definition = registered.definition
    (case,) = class_cases(definition, {"image": volume}, bundle, registered.channel_roles)
    how = definition.explanation or Explanation()
    explainer = explainer_of(case, judge_of(definition, bundle), how)
    return placed_map(explainer, 1, case.pictures[0], bundle)


def assert_hottest_inside(heat: NDArray[Any], place: Sequence[slice]) -> None:
    """The hottest voxels lie on the planted evidence, and their centre in it."""
    hottest = np.argwhere(heat >= 0.999 * heat.max())
    centre = hottest.mean(axis=0)
    middle = np.asarray([(one.start + one.stop - 1) / 2 for one in place])
    extent = np.asarray([one.stop - one.start for one in place])
    assert np.all(np.abs(centre - middle) <= extent), (centre, middle)
    assert heat[tuple(place)].mean() > 4 * heat.mean()


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    return run_study(registered, tmp_path / "in", tmp_path / out, device="cpu")
