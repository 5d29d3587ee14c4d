"""An affine that is wrong on the way to the model and back again puts labels on the wrong side.

Wrong twice alike, the label map still lies on the source grid: only what the model saw differs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import pipelines.preprocessing
import pipelines.restore
from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.preprocessing import affine_ras
from pipelines.series_volume import SeriesVolume
from tests.unit.pipelines.label_map_cases import (
    RIGHT_BACK_UP,
    WORLD,
    in_world,
    label_map,
    viewpoints,
)
from tests.unit.pipelines.threshold_bundle import write_bundle

RIGHT, UP = (2, 1, 1), (1, 1, 2)
AFFINE_FAULTS = {
    "LPS for RAS": lambda affine: np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine,
    "left and right exchanged": lambda affine: np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine,
    "front and back exchanged": lambda affine: np.diag([1.0, -1.0, 1.0, 1.0]) @ affine,
    "head and feet exchanged": lambda affine: np.diag([1.0, 1.0, -1.0, 1.0]) @ affine,
    "columns for rows": lambda affine: affine[:, [1, 0, 2, 3]],
    "columns for slices": lambda affine: affine[:, [2, 1, 0, 3]],
    "rows for slices": lambda affine: affine[:, [0, 2, 1, 3]],
}


@pytest.fixture(scope="module")
def bundles_of_neighbours(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[int, int, int], LoadedBundle]:
    """An exchange of two axes can leave one neighbour where it was, but not all three."""
    folder: Path = tmp_path_factory.mktemp("neighbours")
    return {
        neighbour: load_bundle(
            write_bundle(folder / "-".join(map(str, neighbour)), neighbour=neighbour),
            torch.device("cpu"),
        )
        for neighbour in (RIGHT_BACK_UP, RIGHT, UP)
    }


def expected_in(world: NDArray[np.int64], neighbour: tuple[int, int, int]) -> NDArray[np.int64]:
    """The level of each voxel's neighbour, `neighbour` in a kernel along R, A, S."""
    toward_lps = np.asarray([-1, -1, 1]) * (np.asarray(neighbour) - 1)
    padded = np.pad(world, 1)
    place = tuple(
        slice(1 + step, 1 + step + size) for step, size in zip(toward_lps, WORLD, strict=True)
    )
    levels: NDArray[np.int64] = (padded[place] >= 100).astype(np.int64) + (padded[place] >= 200)
    return levels


def is_seen(
    world: NDArray[np.int64],
    source: SeriesVolume,
    bundles: dict[tuple[int, int, int], LoadedBundle],
) -> bool:
    return any(
        not np.array_equal(in_world(label_map(source, bundle), source), expected_in(world, place))
        for place, bundle in bundles.items()
    )


@pytest.mark.parametrize("fault", [None, *AFFINE_FAULTS.values()], ids=["none", *AFFINE_FAULTS])
def test_an_affine_that_misleads_the_model_is_seen_from_every_viewpoint(
    bundles_of_neighbours: dict[tuple[int, int, int], LoadedBundle],
    fault: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = np.random.default_rng(11).integers(0, 300, WORLD)
    if fault is not None:
        for module in (pipelines.preprocessing, pipelines.restore):
            monkeypatch.setattr(module, "affine_ras", lambda affine: fault(affine_ras(affine)))
    seen = [is_seen(world, view.seen(world), bundles_of_neighbours) for view in viewpoints()]
    assert seen == [fault is not None] * len(viewpoints())
