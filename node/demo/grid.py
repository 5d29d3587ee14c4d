"""Lay a NIfTI volume on slices as DICOM has them, without moving a voxel in the world."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.demo.errors import InvalidNifti
from node.demo.nifti import NiftiVolume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AXES_LPS = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Where [slice, row, column] point in an axial image: superior, posterior, left (LPS)."""

SHEAR_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class SliceGrid:
    """Voxels [slice, row, column] and the 4x4 matrix from those indices to LPS mm."""

    voxels: NDArray[Any]
    affine_lps: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring slices, rows and columns in mm."""
        slice_mm, row_mm, column_mm = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(slice_mm), float(row_mm), float(column_mm)


def as_slices(volume: NiftiVolume) -> SliceGrid:
    """Return the volume with its axes swapped and reversed until they are nearest to axial.

    Every voxel keeps its place in the world. Raises `InvalidNifti` for axes that are not at
    right angles: a classic series cannot state them.
    """
    affine = RAS_TO_LPS @ volume.affine_ras
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise InvalidNifti("the axes are not at right angles")
    order = max(permutations(range(3)), key=lambda order: _agreement(directions, order))
    voxels = volume.voxels.transpose(order)
    affine = affine[:, [*order, 3]]
    for axis, wanted in enumerate(_AXES_LPS):
        if affine[:3, axis] @ wanted < 0:
            voxels, affine = np.flip(voxels, axis), _reversed(affine, axis, voxels.shape[axis])
    return SliceGrid(np.ascontiguousarray(voxels), affine)


def _agreement(directions: NDArray[np.float64], order: tuple[int, ...]) -> float:
    return float(np.abs(directions[:, order] * _AXES_LPS.T).sum())


def _reversed(affine: NDArray[np.float64], axis: int, size: int) -> NDArray[np.float64]:
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1.0, size - 1.0
    return affine @ flip
