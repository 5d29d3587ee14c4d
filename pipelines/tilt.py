"""A stack that leans (CT with a tilted gantry): straightened for the model, leaning again for us.

The slices are parallel but each lies a little further along its own plane than the one before.
Every slice is shifted within its plane, by part of a pixel with linear interpolation, until all lie
above each other; labels come back slice by slice from the nearest voxel. Neither mixes slices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.labels import Labels, OverlappingLabels
from pipelines.pixel_values import LOWEST_HOUNSFIELD
from pipelines.series_volume import SeriesVolume

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lean:
    """How far slices drift within their plane, in pixels (rows, columns) from slice to slice.

    `before` is how many rows and columns the straight grid begins before the first slice, `shape`
    its number of slices, rows and columns.
    """

    drift: Vector
    before: NDArray[np.int64]
    shape: tuple[int, int, int]

    def shift(self, slice_number: int) -> Vector:
        """Rows and columns from a slice's own pixels to those of the straight grid."""
        shifted: Vector = slice_number * self.drift + self.before
        return shifted


def lean_of(volume: SeriesVolume) -> Lean:
    """The lean of a tilted volume; nothing but zeros for an upright one."""
    slices, rows, columns = volume.voxels.shape
    affine = volume.affine_lps
    spacing = np.linalg.norm(affine[:3, 1:3], axis=0)
    drift = affine[:3, 0] @ (affine[:3, 1:3] / spacing) / spacing
    farthest = drift * (slices - 1)
    before = np.ceil(np.maximum(0.0, -farthest)).astype(np.int64)
    after = np.ceil(np.maximum(0.0, farthest)).astype(np.int64)
    more_rows, more_columns = (int(number) for number in before + after)
    return Lean(drift, before, (slices, rows + more_rows, columns + more_columns))


def straightened(volume: SeriesVolume) -> SeriesVolume:
    """The same body on an upright grid, wide enough for every slice; upright volumes unchanged.

    What no slice covers is air in a CT and the darkest value elsewhere.
    """
    if not volume.geometry.is_tilted:
        return volume
    lean = lean_of(volume)
    is_ct = str(volume.headers[0].get("Modality", "")) == "CT"
    empty = LOWEST_HOUNSFIELD if is_ct else float(volume.voxels.min())
    voxels = np.full(lean.shape, empty, dtype=np.float32)
    for number, pixels in enumerate(volume.voxels):
        canvas = np.full(lean.shape[1:], empty, dtype=np.float32)
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        ndimage.shift(canvas, lean.shift(number), voxels[number], order=1, cval=empty)
    affine = volume.affine_lps.copy()
    affine[:3, 0] -= affine[:3, 1:3] @ lean.drift
    affine[:3, 3] -= affine[:3, 1:3] @ lean.before
    geometry = replace(volume.geometry, affine_lps=affine, tilt_degrees=0.0)
    return SeriesVolume(voxels, geometry, volume.source)


def leaning_again(labels: Labels, volume: SeriesVolume) -> Labels:
    """Labels of the straightened grid on the grid of the tilted `volume`, slice by slice."""
    if not volume.geometry.is_tilted:
        return labels
    if isinstance(labels, OverlappingLabels):
        return OverlappingLabels(np.stack([_leaning(byte, volume) for byte in labels.bits]))
    return _leaning(labels, volume)


def slice_by_slice(values: NDArray[Any], volume: SeriesVolume) -> NDArray[Any]:
    """Values of the straightened grid on the grid of `volume`; unchanged where that is upright."""
    return _leaning(values, volume) if volume.geometry.is_tilted else values


def _leaning(labels: NDArray[Any], volume: SeriesVolume) -> NDArray[Any]:
    lean = lean_of(volume)
    _, rows, columns = volume.voxels.shape
    back: NDArray[Any] = np.empty(volume.voxels.shape, dtype=labels.dtype)
    for number, straight in enumerate(labels):
        down, along = np.rint(lean.shift(number)).astype(int)
        back[number] = straight[down : down + rows, along : along + columns]
    return back
