"""Figures that tell what kind of picture a volume is, from its voxels alone.

Each is one number that a person can check: how large, how bright, how its values are spread, how
rough, how alike neighbouring slices are. Training stores the range of each over its cases; an
input far outside any of them is not what the model was made for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float32]

QUANTILES = (10, 25, 50, 75, 90)
SAMPLES = 2_000_000
SMALLEST_SPAN = 1e-12  # a blank volume has figures too
FEATURES = (
    "dark",
    "middle",
    "bright",
    *(f"quantile_{number}" for number in QUANTILES),
    "highest_share",
    "lowest_share",
    "constant_slices_share",
    "roughness",
    "slice_likeness",
    "shortest_edge_mm",
    "middle_edge_mm",
    "longest_edge_mm",
)
"""The name of every feature, in the order in which they are told."""


def features_of(voxels: Volume, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Every feature of a volume [slice, row, column] in modality units.

    `dark`, `middle`, `bright`: the 1st, 50th and 99th percentile, as sign(v) log10(1 + |v|).
    `quantile_*`: percentiles between the 0.5th (0) and the 99.5th (1), which no change of scale
    alters. `*_share`: of voxels at the highest and lowest value, and of slices of one value.
    `roughness`: mean step between neighbours in a slice, of the span from `dark` to `bright`.
    `slice_likeness`: lowest correlation between neighbouring slices. `*_mm`: edges by length.
    """
    sample = voxels.ravel()[:: max(1, voxels.size // SAMPLES)].astype(np.float64)
    percentiles = np.percentile(sample, [0.5, 1, 50, 99, 99.5])
    lowest, dark, middle, bright, highest = (float(value) for value in percentiles)
    span = max(bright - dark, SMALLEST_SPAN)
    quantiles = np.percentile(sample, QUANTILES) - lowest
    quantiles /= max(highest - lowest, SMALLEST_SPAN)
    steps = [float(np.abs(np.diff(voxels, axis=axis)).mean()) for axis in (1, 2)]
    edges = sorted(float(size * mm) for size, mm in zip(voxels.shape, spacing_mm, strict=True))
    return {
        "dark": _logarithmic(dark),
        "middle": _logarithmic(middle),
        "bright": _logarithmic(bright),
        **{
            f"quantile_{number}": float(value)
            for number, value in zip(QUANTILES, quantiles, strict=True)
        },
        "highest_share": float((voxels == voxels.max()).mean()),
        "lowest_share": float((voxels == voxels.min()).mean()),
        "constant_slices_share": float(np.mean([plane.min() == plane.max() for plane in voxels])),
        "roughness": sum(steps) / 2 / span,
        "slice_likeness": _slice_likeness(voxels),
        "shortest_edge_mm": edges[0],
        "middle_edge_mm": edges[1],
        "longest_edge_mm": edges[2],
    }


def _logarithmic(value: Any) -> float:
    return float(np.sign(value) * np.log10(1 + np.abs(value)))


def _slice_likeness(voxels: Volume) -> float:
    """-1 to 1; slices of one value are like nothing (0)."""
    likeness = 1.0
    for one, other in pairwise(voxels):
        first, second = one.ravel() - one.mean(), other.ravel() - other.mean()
        length = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
        likeness = min(likeness, float(first @ second) / length if length > 0 else 0.0)
    return likeness
