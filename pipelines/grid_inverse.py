"""The way back from the network's grid to the source grid, axis by axis.

Follows what MONAI recorded of the preprocessing (`applied_operations`), last operation first:
orientation, crop, pad, and one resampling between parallel grids, by millimetres or to a number of
voxels. Anything else gives no way back here, and the bundle's own inversion must do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms.utils import scale_affine
from numpy.typing import NDArray

from pipelines.axis_taps import AxisTaps, identity_taps, interpolated_taps, sampled_taps

SAME_AFFINE = 1e-3  # MONAI resamples nothing below that
PARALLEL_WITHIN_VOXELS = 1e-4
AXES = 3
INTERPOLATIONS = {"trilinear": "linear", "nearest": "nearest", "nearest-exact": "nearest-exact"}

Affine = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class GridInverse:
    """For each axis of the source grid: the network's axis that runs along it, and its taps."""

    network_axis: tuple[int, ...]
    taps: tuple[AxisTaps, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the source grid."""
        return tuple(len(taps) for taps in self.taps)

    def by_network_axis(self) -> tuple[AxisTaps, ...]:
        """The taps in the order of the network's axes."""
        return tuple(self.taps[self.network_axis.index(axis)] for axis in range(AXES))


@dataclass(frozen=True, eq=False)
class _State:
    inverse: GridInverse
    affine: Affine


def grid_inverse(image: MetaTensor, *, nearest: bool) -> GridInverse | None:
    """From the grid of a preprocessed image [channel, x, y, z] to that of its source.

    None when an operation is not one of those that are inverted axis by axis.
    """
    if image.ndim != AXES + 1 or image.pending_operations:
        return None
    start = GridInverse((0, 1, 2), tuple(identity_taps(n) for n in image.shape[1:]))
    state = _State(start, np.asarray(image.affine.cpu(), dtype=np.float64))
    for operation in reversed(image.applied_operations):
        before = _undone(state, operation, nearest=nearest)
        if before is None:
            return None
        state = before
    return state.inverse


def _undone(state: _State, operation: Mapping[str, Any], *, nearest: bool) -> _State | None:
    info = operation.get("extra_info") or {}
    if operation.get("lazy") or not operation.get("do_transforms", True):
        return None
    if "src_affine" in info:
        return _resampled(state, operation, nearest=nearest)
    if "new_dim" in info:
        return _resized(state, operation, nearest=nearest)
    if "original_affine" in info:
        return _turned(state, np.asarray(info["original_affine"], dtype=np.float64))
    if "padded" in info:
        return _unpadded(state, info["padded"])
    if "cropped" in info:
        return _uncropped(state, info)
    if "crop_info" in info and "pad_info" in info:
        unpadded = _undone(state, info["pad_info"], nearest=nearest)
        return unpadded and _undone(unpadded, info["crop_info"], nearest=nearest)
    return None


def _unpadded(state: _State, padded: Any) -> _State | None:
    channel, *axes = ([int(side) for side in pair] for pair in padded)
    if any(channel) or len(axes) != AXES:
        return None
    return _moved(state, [(-low, -high) for low, high in axes])


def _uncropped(state: _State, info: Mapping[str, Any]) -> _State | None:
    if "pad_info" in info:  # CropForeground pads after it has cropped
        unpadded = _undone(state, info["pad_info"], nearest=False)
        return unpadded and _uncropped(unpadded, {"cropped": info["cropped"]})
    sides = [int(side) for side in info["cropped"]]
    if len(sides) != 2 * AXES:
        return None
    return _moved(state, list(zip(sides[::2], sides[1::2], strict=True)))


def _moved(state: _State, sides: list[tuple[int, int]]) -> _State:
    taps = tuple(
        axis.surrounded(*side) for axis, side in zip(state.inverse.taps, sides, strict=True)
    )
    shift = np.eye(AXES + 1)
    shift[:AXES, AXES] = [-before for before, _ in sides]
    return _State(replace(state.inverse, taps=taps), state.affine @ shift)


def _turned(state: _State, before: Affine) -> _State | None:
    """The grid before an Orientation: the same voxels along other, or reversed, axes."""
    matrix = np.linalg.solve(state.affine, before)[:AXES, :AXES]
    signs = np.rint(matrix)
    if not np.allclose(matrix, signs, atol=SAME_AFFINE) or not np.all(
        np.abs(signs).sum(axis=0) == 1
    ):
        return None
    axes = [int(axis) for axis in np.argmax(np.abs(signs), axis=0)]
    inverse = state.inverse
    taps = tuple(
        inverse.taps[axis] if signs[axis, new] > 0 else inverse.taps[axis].flipped()
        for new, axis in enumerate(axes)
    )
    turned = GridInverse(tuple(inverse.network_axis[axis] for axis in axes), taps)
    return _State(turned, before)


def _resampled(state: _State, operation: Mapping[str, Any], *, nearest: bool) -> _State | None:
    info = operation["extra_info"]
    before = np.asarray(info["src_affine"], dtype=np.float64)
    shape = tuple(int(count) for count in operation["orig_size"])
    matrix = np.linalg.solve(state.affine, before)
    if shape == state.inverse.shape and (
        np.allclose(state.affine, before, atol=SAME_AFFINE)
        or np.allclose(matrix, np.eye(AXES + 1), atol=SAME_AFFINE)
    ):
        return _State(state.inverse, before)
    settings = _sampling(info, nearest=nearest)
    if settings is None or not _is_parallel(matrix, shape):
        return None
    return _read_through(
        state,
        before,
        [
            sampled_taps(
                source=len(current),
                count=shape[axis],
                step=float(matrix[axis, axis]),
                start=float(matrix[axis, AXES]),
                settings=settings,
                dtype=_arithmetic(info) if nearest else torch.float64,
            )
            for axis, current in enumerate(state.inverse.taps)
        ],
    )


def _resized(state: _State, operation: Mapping[str, Any], *, nearest: bool) -> _State | None:
    """The grid before a Resize, which torch's interpolation brings back."""
    info = operation["extra_info"]
    mode = "nearest" if nearest else INTERPOLATIONS.get(str(info["mode"]))
    if mode is None or info["new_dim"]:
        return None
    corners = info["align_corners"] is True
    shape = tuple(int(count) for count in operation["orig_size"])
    now = state.inverse.shape
    if corners and 1 in (*shape, *now):  # a single plane has no two corners to align
        return None
    scale = scale_affine(shape, now, align_corners=corners)
    before = state.affine @ np.linalg.inv(scale)
    if shape == now:
        return _State(state.inverse, before)
    aligned = {"align_corners": corners if mode == "linear" else None}
    taps = [
        interpolated_taps(source=now[axis], count=shape[axis], mode=mode, **aligned)
        for axis in range(AXES)
    ]
    return _read_through(state, before, taps)


def _read_through(state: _State, before: Affine, taps: Sequence[AxisTaps]) -> _State | None:
    """The state before a resampling with `taps`; None where four places would be read."""
    composed = [current.resampled(by) for current, by in zip(state.inverse.taps, taps, strict=True)]
    known = tuple(axis for axis in composed if axis is not None)
    if len(known) < AXES:
        return None
    return _State(replace(state.inverse, taps=known), before)


def _sampling(info: Mapping[str, Any], *, nearest: bool) -> dict[str, Any] | None:
    mode, padding_mode = str(info["mode"]), str(info["padding_mode"])
    if mode not in ("bilinear", "nearest") or padding_mode not in ("border", "zeros"):
        return None
    corners = False if nearest else info["align_corners"]
    return {
        "mode": "nearest" if nearest else mode,
        "padding_mode": padding_mode,
        "align_corners": corners if isinstance(corners, bool) else False,
    }


def _arithmetic(info: Mapping[str, Any]) -> torch.dtype:
    return torch.float32 if str(info.get("dtype")) == "float32" else torch.float64


def _is_parallel(matrix: Affine, shape: tuple[int, ...]) -> bool:
    """Whether no axis leans on another by more than a trifle over its whole length."""
    leaning = np.abs(matrix[:AXES, :AXES] - np.diag(np.diag(matrix)[:AXES]))
    return bool((leaning @ np.asarray(shape)).max() <= PARALLEL_WITHIN_VOXELS)
