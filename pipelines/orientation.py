"""Names of slice orientations, from Image Orientation (Patient) (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PLANES = ("sagittal", "coronal", "axial")  # by the LPS axis that the slice normal follows
OBLIQUE_FROM_DEGREES = 20.0


def slice_normal(orientation: ArrayLike) -> NDArray[np.float64]:
    """Unit normal in LPS: cross product of the row's and the column's direction cosines."""
    cosines = np.asarray(orientation, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0 else normal


def plane_of(orientation: ArrayLike) -> str:
    """`axial`, `coronal` or `sagittal` for the nearest body axis, `oblique` beyond 20 degrees."""
    normal = np.abs(slice_normal(orientation))
    axis = int(np.argmax(normal))
    angle = float(np.degrees(np.arccos(np.clip(normal[axis], 0.0, 1.0))))
    return PLANES[axis] if angle <= OBLIQUE_FROM_DEGREES else "oblique"
