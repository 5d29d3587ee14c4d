"""What the certainty of one class hangs on, voxel by voxel on the source grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HALF = 0.5


@dataclass(frozen=True, eq=False)
class HeatMap:
    """`values` [slice, row, column] from 0 to 1, the highest of all voxels; all 0 where nothing
    speaks for the class. It is no outline: the network's own map is coarse.

    It lies on the image of `role`. `method` and `means` say how it was made, `tracking_uid` whose
    class it is in SR and FHIR.
    """

    label: str
    output: int
    role: str
    tracking_uid: str
    certainty_percent: float
    method: str
    means: str
    values: NDArray[np.float32]

    def shown_slices(self, most: int) -> tuple[int, ...]:
        """Up to `most` slices (from 0) spread evenly over those with at least half of the peak."""
        peaks = self.values.reshape(len(self.values), -1).max(axis=1)
        used = np.flatnonzero(peaks >= HALF * peaks.max())
        picks = np.linspace(0, len(used) - 1, min(most, len(used)))
        return tuple(dict.fromkeys(int(used[round(pick)]) for pick in picks))
