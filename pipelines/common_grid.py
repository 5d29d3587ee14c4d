"""Several inputs of one model on one grid: that of the first.

Sequences of one examination share a frame of reference but often not slices, spacing or field
of view. Those that do not lie on the first input's grid are resampled onto it (trilinear); the
result lies on the first input's own grid, whose voxels stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from pipelines.errors import RefusalCode, Refused
from pipelines.series_volume import SeriesVolume
from pipelines.tilt import straightened

SAME_GRID_MM = 1e-2
LEAST_COVERED = 0.75
PROBES = 24  # points along each axis at which coverage is counted


def on_one_grid(volumes: Mapping[str, SeriesVolume]) -> dict[str, SeriesVolume]:
    """Every volume by its role, on the (straightened) grid of the first.

    Raises `Refused`: mixed_frames_of_reference, and different_grids when one covers less than
    three quarters of the first.
    """
    (role, first), *others = volumes.items()
    onto = straightened(first)
    found = {role: onto}
    for name, other in others:
        _refuse_unrelated(first, other, name)
        found[name] = _resampled(onto, other)
    return found


def _resampled(first: SeriesVolume, other: SeriesVolume) -> SeriesVolume:
    same_shape = first.voxels.shape == other.voxels.shape
    if same_shape and np.allclose(first.affine_lps, other.affine_lps, atol=SAME_GRID_MM):
        return other
    to_other = np.linalg.inv(other.affine_lps) @ first.affine_lps
    voxels = ndimage.affine_transform(
        other.voxels,
        to_other[:3, :3],
        to_other[:3, 3],
        output_shape=first.voxels.shape,
        order=1,
        cval=float(other.voxels.min()),
    )
    return SeriesVolume(voxels, first.geometry, other.source)


def _refuse_unrelated(first: SeriesVolume, other: SeriesVolume, role: str) -> None:
    frames = {volume.headers[0].FrameOfReferenceUID for volume in (first, other)}
    if len(frames) > 1:
        text = f"the series of {role} has another frame of reference than that of the first input"
        raise Refused(RefusalCode.MIXED_FRAMES_OF_REFERENCE, text)
    to_other = np.linalg.inv(other.affine_lps) @ first.affine_lps
    axes = [np.linspace(0, size - 1, min(size, PROBES)) for size in first.voxels.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    found = points @ to_other[:3, :3].T + to_other[:3, 3]
    inside = (found > -0.5) & (found < np.asarray(other.voxels.shape) - 0.5)
    covered = float(inside.all(axis=1).mean())
    if covered < LEAST_COVERED:
        text = (
            f"the series of {role} covers {100 * covered:.0f} % of the first input's field, at "
            f"least {100 * LEAST_COVERED:.0f} % are needed"
        )
        raise Refused(RefusalCode.DIFFERENT_GRIDS, text)
