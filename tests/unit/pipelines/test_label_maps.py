"""From volume through a bundle and back: a label lies where its voxel lies in the patient.

The network of the test bundle labels a voxel by the value of one of its neighbours, so that a
swapped or reversed axis anywhere on the way moves the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.preprocessing import affine_ras
from tests.unit.pipelines.label_map_cases import (
    WORLD,
    Viewpoint,
    axial,
    ball,
    in_world,
    label_map,
    neighbour_bundle,
    truth,
    viewpoints,
    volume,
)
from tests.unit.pipelines.threshold_bundle import (
    ARGMAX,
    CHANNEL,
    FLOAT,
    INVERT,
    LOAD,
    RAS,
    spacing,
    write_bundle,
)

__all__ = ["neighbour_bundle"]


@settings(deadline=None, max_examples=48)
@given(st.sampled_from(viewpoints()), st.integers(0, 2**32 - 1))
def test_a_label_lies_at_the_same_place_in_the_patient_from_every_viewpoint(
    neighbour_bundle: LoadedBundle, viewpoint: Viewpoint, seed: int
) -> None:
    world = np.random.default_rng(seed).integers(0, 300, WORLD)
    source = viewpoint.seen(world)
    placed = in_world(label_map(source, neighbour_bundle), source)
    neighbours = np.zeros(WORLD, dtype=np.int64)
    neighbours[1:, :-1, :-1] = world[:-1, 1:, 1:]  # in LPS: -1, +1, +1
    expected = (neighbours >= 100).astype(int) + (neighbours >= 200)
    assert np.array_equal(placed, expected)


@settings(deadline=None, max_examples=20)
@given(st.floats(-40, 40), st.sampled_from([0, 1, 2]))
def test_turning_slices_and_patient_together_changes_no_label(
    neighbour_bundle: LoadedBundle, degrees: float, axis: int
) -> None:
    voxels = np.random.default_rng(5).integers(0, 300, (6, 7, 8))
    turn = _turned(degrees, axis)
    directions = np.concatenate([turn @ [1, 0, 0], turn @ [0, 1, 0]])
    oblique = volume(voxels, directions, np.asarray([3.0, -8.0, 1.0]))
    assert np.array_equal(
        label_map(oblique, neighbour_bundle), label_map(axial(voxels), neighbour_bundle)
    )


def _turned(degrees: float, axis: int) -> NDArray[np.float64]:
    first, second = (index for index in range(3) if index != axis)
    turn, angle = np.eye(3), np.radians(degrees)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


def test_the_affine_for_the_bundle_is_in_ras() -> None:
    source = axial(np.zeros((3, 4, 5)), spacing_mm=(3.0, 2.0, 1.0))
    affine = affine_ras(source.affine_lps)
    assert (affine @ [0, 0, 0, 1])[:3].tolist() == [5, -4, 3]
    assert (affine @ [1, 1, 1, 1])[:3].tolist() == [4, -6, 6]


@pytest.mark.parametrize("invert", [True, False])
def test_a_label_map_comes_back_to_the_source_grid_from_another_spacing(
    tmp_path: Path, invert: bool
) -> None:
    after = [INVERT, ARGMAX] if invert else [ARGMAX]
    bundle = load_bundle(
        write_bundle(
            tmp_path / "bundle",
            preprocessing=[LOAD, CHANNEL, RAS, spacing(1.0, 1.0, 1.0), FLOAT],
            postprocessing=after,
        ),
        torch.device("cpu"),
    )
    voxels = ball((12, 30, 26), (2.5, 0.9, 1.1))
    labels = label_map(axial(voxels, spacing_mm=(2.5, 0.9, 1.1)), bundle)
    assert labels.shape == voxels.shape
    for level in (1, 2):
        same = ((labels == level) & (truth(voxels) == level)).sum()
        both = (labels == level).sum() + (truth(voxels) == level).sum()
        assert 2 * same / both > 0.85


def test_probabilities_that_nothing_decided_are_decided_by_the_largest(tmp_path: Path) -> None:
    bundle = load_bundle(
        write_bundle(tmp_path / "bundle", postprocessing=[INVERT]), torch.device("cpu")
    )
    voxels = ball((8, 9, 10), (2.0, 2.0, 2.0))
    labels = label_map(axial(voxels, spacing_mm=(2.0, 2.0, 2.0)), bundle)
    assert np.array_equal(labels, truth(voxels))
    assert labels.dtype == np.uint8


@pytest.mark.parametrize("first", [[LOAD], [{**LOAD, "ensure_channel_first": True}]])
def test_a_bundle_whose_loader_gives_the_channel_axis_gets_it(
    tmp_path: Path, first: list[dict[str, Any]]
) -> None:
    folder = write_bundle(tmp_path / "bundle", preprocessing=[*first, RAS, FLOAT])
    voxels = ball((8, 9, 10), (2.0, 2.0, 2.0))
    labels = label_map(
        axial(voxels, spacing_mm=(2.0, 2.0, 2.0)), load_bundle(folder, torch.device("cpu"))
    )
    assert np.array_equal(labels, truth(voxels))
