"""NIfTI volumes written by other programs, laid out as ours: [slice, row, column] and LPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AXES_REVERSED = np.eye(4)[[2, 1, 0, 3]]


def on_axes_of(
    path: Path, affine_lps: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The volume with its axes turned as those of `affine_lps`, and its own affine then.

    Both affines take (slice, row, column, 1) to LPS mm. Only axes are exchanged and reversed; no
    voxel is computed, so that equal volumes are equal to the last bit.
    """
    image = nibabel.load(path)
    return turned_as(np.asarray(image.dataobj), np.asarray(image.affine), affine_lps)


def turned_as(
    voxels: NDArray[Any], affine_ras: NDArray[np.float64], affine_lps: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The same for voxels [x, y, z] and their affine to RAS mm."""
    found = LPS_FROM_RAS @ affine_ras.astype(float) @ _AXES_REVERSED
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(found), nibabel.orientations.io_orientation(affine_lps)
    )
    back = nibabel.orientations.inv_ornt_aff(turn, voxels.T.shape)
    turned: NDArray[Any] = nibabel.orientations.apply_orientation(voxels.T, turn)
    return turned, found @ back
