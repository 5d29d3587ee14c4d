"""Volumes in every orientation, and label maps of a bundle's answers on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.geometry import SlicePlane, arrange
from pipelines.inference import infer
from pipelines.labels import LabelMap
from pipelines.objects.source_series import SourceSeries
from pipelines.preprocessing import preprocessed
from pipelines.restore import restored_label_map
from pipelines.segmenting import segmented
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes
from tests.unit.pipelines.threshold_bundle import (
    write_bundle,
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
