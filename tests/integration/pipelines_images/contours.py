"""Contours drawn by people (RTSTRUCT, PS3.3 C.8.8.6) as voxels, for truth that is not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

Mask = NDArray[np.bool_]


def drawn_voxels(
    path: Path, affine_lps: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Voxels whose centres lie within the only structure of an RTSTRUCT: 1, all others 0.

    `affine_lps` takes (slice, row, column, 1) to LPS mm. Contours on one slice cut holes into
    each other, as the standard has them.
    """
    (structure,) = dcmread(path).ROIContourSequence
    to_index = np.linalg.inv(affine_lps)
    inside = np.zeros(shape, dtype=bool)
    for contour in structure.ContourSequence:
        points = np.asarray(contour.ContourData, dtype=float).reshape(-1, 3)
        indices = (np.c_[points, np.ones(len(points))] @ to_index.T)[:, :3]
        number = round(float(indices[0, 0]))
        assert np.abs(indices[:, 0] - number).max() < 0.05, "a contour lies between two slices"
        inside[number] ^= _filled(indices[:, 1:], shape[1:])
    return inside.astype(np.uint8)


def _filled(polygon: NDArray[Any], shape: tuple[int, int]) -> Mask:
    """Even-odd rule at the centre of every pixel; `polygon` holds (row, column)."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    inside = np.zeros(shape, dtype=bool)
    for (row, column), (next_row, next_column) in zip(
        polygon, np.roll(polygon, -1, axis=0), strict=True
    ):
        if row != next_row:
            crosses = (rows >= row) != (rows >= next_row)
            at = column + (rows - row) * (next_column - column) / (next_row - row)
            inside ^= crosses & (columns < at)
    return inside
