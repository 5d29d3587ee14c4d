"""From volume through a bundle and back: a label lies where its voxel lies in the patient.

The network of the test bundle labels a voxel by the value of one of its neighbours, so that a
swapped or reversed axis anywhere on the way moves the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.errors import InferenceFailed, RefusalCode, Refused
from pipelines.geometry import SlicePlane, arrange
from pipelines.inference import infer
from pipelines.labels import LabelMap
from pipelines.objects.source_series import SourceSeries
from pipelines.preprocessing import affine_ras, preprocessed
from pipelines.restore import restored_label_map
from pipelines.segmenting import segmented
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes
from tests.unit.pipelines.threshold_bundle import (
    ARGMAX,
    CHANNEL,
    FLOAT,
    INVERT,
    LOAD,
    RAS,
    metadata,
    spacing,
    write_bundle,
    write_json,
)

RIGHT_BACK_UP = (2, 0, 2)
"""In a kernel along R, A, S: the neighbour to the patient's right, back and head."""
WORLD = (7, 8, 9)


def volume(
    voxels: NDArray[Any],
    orientation: NDArray[np.float64],
    origin: NDArray[np.float64],
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    frame_of_reference: str = "2.25.3",
) -> SeriesVolume:
    normal = np.cross(orientation[:3], orientation[3:])
    planes = []
    for index in range(len(voxels)):
        x, y, z = (float(value) for value in origin + index * spacing_mm[0] * normal)
        a, b, c, d, e, f = (float(value) for value in orientation)
        planes.append(SlicePlane((x, y, z), (a, b, c, d, e, f), spacing_mm[1:], *voxels.shape[1:]))
    header = Dataset()
    header.FrameOfReferenceUID = frame_of_reference
    source = SourceSeries((header,) * len(voxels))
    return SeriesVolume(voxels.astype(np.float32), arrange(planes), source)


def label_map(source: SeriesVolume, bundle: LoadedBundle) -> LabelMap:
    data = preprocessed({"image": source}, bundle)
    labels = segmented(data, bundle, source, StageTimes())
    assert isinstance(labels, np.ndarray)
    by_bundle = restored_label_map(data, infer(data, bundle), source, bundle)
    np.testing.assert_array_equal(labels, by_bundle)
    return labels


def axial(voxels: NDArray[Any], **changes: Any) -> SeriesVolume:
    directions = np.asarray([1.0, 0, 0, 0, 1, 0])
    return volume(voxels, directions, np.asarray([-5.0, 4.0, 3.0]), **changes)


@dataclass(frozen=True)
class Viewpoint:
    """Which LPS axis, in which direction, a row, a column of pixels and the slices run along."""

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]

    def seen(self, world: NDArray[Any]) -> SeriesVolume:
        """The world [x, y, z] in LPS mm, cut into slices from this viewpoint."""
        row, column = (
            np.eye(3)[self.axes[0]] * self.signs[0],
            np.eye(3)[self.axes[1]] * self.signs[1],
        )
        orientation = np.concatenate([row, column])
        cut = world.transpose(self.axes[::-1])
        backwards = [axis for axis, sign in enumerate(self.signs[::-1]) if sign < 0]
        size, axes = np.asarray(world.shape), np.asarray(self.axes)
        origin = np.zeros(3)
        for axis, sign in zip(axes, self.signs, strict=True):
            origin[axis] = size[axis] - 1 if sign < 0 else 0
        return volume(np.ascontiguousarray(np.flip(cut, tuple(backwards))), orientation, origin)


def viewpoints() -> list[Viewpoint]:
    """Every axis-aligned way to look at a patient; slices follow row x column."""
    found = []
    for (a, b, c), (row, column) in product(permutations(range(3)), product((1, -1), repeat=2)):
        normal = np.cross(np.eye(3)[a] * row, np.eye(3)[b] * column)
        found.append(Viewpoint((a, b, c), (row, column, int(normal[c]))))
    return found


def in_world(labels: LabelMap, source: SeriesVolume) -> NDArray[np.int64]:
    placed = np.full(WORLD, -1, dtype=np.int64)
    for index in np.ndindex(*labels.shape):
        place = np.rint((source.affine_lps @ [*index, 1])[:3]).astype(int)
        placed[tuple(place)] = labels[index]
    return placed


@pytest.fixture(scope="module")
def neighbour_bundle(tmp_path_factory: pytest.TempPathFactory) -> LoadedBundle:
    folder = tmp_path_factory.mktemp("neighbour") / "bundle"
    return load_bundle(write_bundle(folder, neighbour=RIGHT_BACK_UP), torch.device("cpu"))


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


def ball(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> NDArray[Any]:
    centre = [(size - 1) / 2 * step for size, step in zip(shape, spacing_mm, strict=True)]
    axes = [np.arange(size) * step for size, step in zip(shape, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    values: NDArray[Any] = 250 - 15 * distance
    return values


def truth(voxels: NDArray[Any]) -> NDArray[np.int64]:
    levels: NDArray[np.int64] = (voxels >= 100).astype(np.int64) + (voxels >= 200)
    return levels


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


def failure(folder: Path, **changes: Any) -> str:
    bundle = load_bundle(write_bundle(folder / "bundle", **changes), torch.device("cpu"))
    with pytest.raises(InferenceFailed) as caught:
        label_map(axial(ball((8, 9, 10), (2.0, 2.0, 2.0))), bundle)
    return str(caught.value)


def scaled(expression: str) -> dict[str, Any]:
    return {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {expression}"}


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("x * 0.4", "values are not whole"),
        ("x - 1", "label values from -1"),
        ("x * 5", "label values [5, 10] are not in the bundle's channel_def"),
        ("x * float('nan')", "values are not whole"),
        ("x.no_such_method()", "postprocessing broke"),
    ],
)
def test_an_answer_that_is_no_label_map_of_the_bundle_is_a_failure(
    tmp_path: Path, expression: str, told: str
) -> None:
    assert told in failure(tmp_path, postprocessing=[INVERT, ARGMAX, scaled(expression)])


def test_channels_that_may_overlap_are_a_failure(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", postprocessing=[INVERT])
    write_json(folder / "configs" / "metadata.json", metadata(c0="core", c1="whole", c2="rim"))
    bundle = load_bundle(folder, torch.device("cpu"))
    with pytest.raises(InferenceFailed, match="may overlap"):
        label_map(axial(ball((8, 9, 10), (2.0, 2.0, 2.0))), bundle)


def test_a_network_that_does_not_fit_the_image_is_a_failure(tmp_path: Path) -> None:
    network = {
        "_target_": "torch.nn.Conv3d",
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": 3,
        "padding": 1,
        "padding_mode": "circular",
        "dilation": 1,
    }
    broken = {"_target_": "SlidingWindowInferer", "roi_size": [4, 4]}
    assert "the network broke on an image of (1, 10, 9, 8)" in failure(
        tmp_path, network_def=network, inferer=broken
    )


def test_a_network_that_answers_no_numbers_is_a_failure(tmp_path: Path) -> None:
    broken = {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x * float('nan')"}
    assert "not finite" in failure(tmp_path, preprocessing=[LOAD, CHANNEL, RAS, FLOAT, broken])


def test_several_series_become_channels_in_the_order_of_the_roles(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "bundle"), torch.device("cpu"))
    first, second = ball((8, 9, 10), (1.0, 1.0, 1.0)), np.ones((8, 9, 10))
    image = preprocessed({"t1": axial(first), "t2": axial(second)}, bundle)["image"]
    assert tuple(image.shape) == (2, 10, 9, 8)
    assert bool((image[1] == 1).all())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"frame_of_reference": "2.25.4"}, RefusalCode.MIXED_FRAMES_OF_REFERENCE),
        ({"spacing_mm": (1.0, 1.0, 1.1)}, RefusalCode.DIFFERENT_GRIDS),
    ],
)
def test_series_that_do_not_share_a_grid_are_refused(
    tmp_path: Path, changes: dict[str, Any], code: RefusalCode
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "bundle"), torch.device("cpu"))
    voxels = np.ones((8, 9, 10))
    with pytest.raises(Refused) as caught:
        preprocessed({"t1": axial(voxels), "t2": axial(voxels, **changes)}, bundle)
    assert caught.value.code is code
