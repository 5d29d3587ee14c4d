"""The gate on anatomy: a result lies in the body, and left structures lie left of right ones.

Both ask the images: where there is a body at all, and which way a row runs in the patient (+x of
LPS is the patient's left). A mirrored or misplaced label map that was written faithfully passes
every comparison with itself, and fails here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ProofFailed
from pipelines.objects.source_series import SourcePlane

MARGIN_MM = 20.0
"""How far a bounding box may reach beyond that of the body: skin, and noise at its edge."""

BODY_HOUNSFIELD = -500.0
BODY_UPTAKE = 0.05  # g/mL; the air round a patient has none
BODY_SHARE = 0.05  # of the way from the darkest to the brightest value, for all else
SAMPLES = 500_000


class LeftRight(NamedTuple):
    """Label values of one organ on either side of the patient."""

    left: int
    right: int


def prove_in_body(
    label_map: NDArray[Any],
    voxels: NDArray[np.float32],
    *,
    modality: str,
    spacing_mm: tuple[float, float, float],
) -> None:
    """Prove that the labels' bounding box lies in that of the body, with 20 mm to spare.

    Both arrays are [slice, row, column] on one grid. Raises `ProofFailed`.
    """
    labels = _extent(label_map)
    body = _extent(voxels, above=_darkest_of_body(voxels, modality))
    if labels is None or body is None:
        return
    for axis, name in enumerate(("slices", "rows", "columns")):
        margin = MARGIN_MM / spacing_mm[axis]
        beyond = max(body[axis][0] - labels[axis][0], labels[axis][1] - body[axis][1])
        if beyond > margin:
            out_mm = beyond * spacing_mm[axis]
            raise ProofFailed(
                f"the result reaches {out_mm:.0f} mm along the {name} out of the body, "
                f"allowed {MARGIN_MM:.0f}"
            )


def _darkest_of_body(voxels: NDArray[np.float32], modality: str) -> float:
    if modality == "CT":
        return BODY_HOUNSFIELD
    if modality == "PT":
        return BODY_UPTAKE
    sample = voxels.ravel()[:: max(1, voxels.size // SAMPLES)]
    dark, bright = np.percentile(sample, [0.5, 99.5])
    return float(dark + BODY_SHARE * (bright - dark))


def _extent(values: NDArray[Any], above: float = 0) -> list[tuple[int, int]] | None:
    """First and last index along each axis of what lies above a value; None where nothing does."""
    is_slice = np.zeros(len(values), dtype=bool)
    is_row, is_column = (np.zeros(size, dtype=bool) for size in values.shape[1:])
    for index, plane in enumerate(values):  # slice by slice: no copy of the whole
        inside = plane > above
        is_slice[index] = inside.any()
        is_row |= inside.any(axis=1)
        is_column |= inside.any(axis=0)
    if not is_slice.any():
        return None
    found = (np.flatnonzero(axis) for axis in (is_slice, is_row, is_column))
    return [(int(indices[0]), int(indices[-1])) for indices in found]


def prove_sides(
    label_map: NDArray[Any], planes: Sequence[SourcePlane], pairs: Sequence[LeftRight]
) -> None:
    """Prove that the middle of each left structure lies further left than that of its right one.

    `planes` are those of the source images, one a slice of `label_map`. A pair of which only one
    is there proves nothing and passes. Raises `ProofFailed` with both places.
    """
    values = sorted({value for pair in pairs for value in pair})
    middles = {value: _middle_x_mm(label_map, planes, value) for value in values}
    for pair in pairs:
        left, right = middles[pair.left], middles[pair.right]
        if left is not None and right is not None and left <= right:
            raise ProofFailed(
                f"label value {pair.left} is a left structure, but lies {right - left:.1f} mm to "
                f"the right of its counterpart {pair.right}: the result is mirrored or exchanged"
            )


def _middle_x_mm(
    label_map: NDArray[Any], planes: Sequence[SourcePlane], value: int
) -> float | None:
    """Mean x in LPS mm of the voxels of one label value; None where there are none."""
    total, count = 0.0, 0
    for labels, plane in zip(label_map, planes, strict=True):
        inside = labels == value
        number = int(np.count_nonzero(inside))
        if number:
            down = float(inside.sum(axis=1) @ np.arange(inside.shape[0])) * plane.spacing_mm[0]
            along = float(inside.sum(axis=0) @ np.arange(inside.shape[1])) * plane.spacing_mm[1]
            total += number * float(plane.position[0])
            total += down * float(plane.column_direction[0]) + along * float(plane.row_direction[0])
            count += number
    return total / count if count else None
