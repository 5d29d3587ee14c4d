"""Quantities of a label map. Volumes only: voxels counted, times the volume of one voxel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def volumes_ml(
    label_map: NDArray[Any], voxel_volume_ml: float, label_values: Iterable[int]
) -> dict[int, float]:
    """Volume in mL of each label value in a label map of unsigned integers; 0 when absent."""
    wanted = tuple(label_values)
    counts = np.bincount(label_map.ravel(), minlength=max(wanted, default=0) + 1)
    return {value: float(counts[value]) * voxel_volume_ml for value in wanted}
