"""The windows of a classifier that sees a part of the image at a time.

MONAI's sliding windows put answers together that are images themselves; one probability for each
window is none. The windows are cut here as MONAI cuts them: by the inferer's size, overlap and
padding, for slices by its axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import SliceInferer, SlidingWindowInferer
from monai.utils import PytorchPadMode
from torch.nn import functional

from pipelines.errors import InvalidBundle

Combined = Literal["max", "mean"]
"""How the probabilities of the windows become that of the image, class by class."""


@dataclass(frozen=True, eq=False)
class ClassWindows:
    """The windows of one batch [1, channel, x, y(, z)]: what the network sees, and where it lies.

    `shape` is that of the image with its padding, `padding` what was added before each axis;
    `flat_axis` is the axis of the image along which windows are single slices, if they are.
    """

    image: torch.Tensor
    places: tuple[tuple[slice, ...], ...]
    padding: tuple[int, ...]
    flat_axis: int | None

    def __iter__(self) -> Any:
        return (self.at(place) for place in self.places)

    def at(self, place: tuple[slice, ...]) -> torch.Tensor:
        """One window as the network takes it, [1, channel, x, y(, z)]."""
        window = self.image[(slice(None), slice(None), *place)]
        return window if self.flat_axis is None else window.squeeze(self.flat_axis + 2)

    def put_back(self, values: torch.Tensor) -> torch.Tensor:
        """A window's values [x, y(, z)] with the axis that it was taken out of."""
        return values if self.flat_axis is None else values.unsqueeze(self.flat_axis)

    def without_padding(self, canvas: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """What of a canvas of the padded image lies on the image, of `shape`."""
        kept = (slice(low, low + size) for low, size in zip(self.padding, shape, strict=True))
        return canvas[tuple(kept)]


def goes_in_windows(inferer: Callable[..., Any]) -> bool:
    """Whether an inferer cuts windows, as MONAI's sliding ones and that of slices do."""
    return isinstance(inferer, SlidingWindowInferer)


def class_windows(batch: torch.Tensor, inferer: Any) -> ClassWindows:
    """The windows of a batch of one image. Raises `InvalidBundle` where they do not fit it."""
    shape = tuple(batch.shape[2:])
    flat_axis = int(inferer.spatial_dim) if isinstance(inferer, SliceInferer) else None
    roi = _roi(inferer, shape, flat_axis)
    low = tuple(max(edge - size, 0) // 2 for edge, size in zip(roi, shape, strict=True))
    high = tuple(
        max(edge - size, 0) - before for edge, size, before in zip(roi, shape, low, strict=True)
    )
    padded = _padded(batch, low, high, inferer)
    steps = tuple(
        max(1, int(edge * (1 - share)))
        for edge, share in zip(roi, _shares(inferer, len(shape)), strict=True)
    )
    places = dense_patch_slices(tuple(padded.shape[2:]), roi, steps)
    return ClassWindows(padded, tuple(places), low, flat_axis)


def _roi(inferer: Any, shape: tuple[int, ...], flat_axis: int | None) -> tuple[int, ...]:
    told = getattr(inferer, "orig_roi_size", inferer.roi_size)
    edges = list(told) if isinstance(told, list | tuple) else [told] * len(shape)
    if flat_axis is not None and len(edges) == len(shape) - 1:
        edges.insert(flat_axis, 1)
    if len(edges) != len(shape):
        raise InvalidBundle(f"windows of {tuple(edges)} do not fit an image of {shape}")
    # As in MONAI, an edge of 0 or less is the whole image.
    return tuple(
        int(edge) if edge and edge > 0 else size for edge, size in zip(edges, shape, strict=True)
    )


def _shares(inferer: Any, axes: int) -> list[float]:
    told = inferer.overlap
    return [float(one) for one in told] if isinstance(told, list | tuple) else [float(told)] * axes


def _padded(
    batch: torch.Tensor, low: tuple[int, ...], high: tuple[int, ...], inferer: Any
) -> torch.Tensor:
    if not any((*low, *high)):
        return batch
    edges = [n for pair in zip(reversed(low), reversed(high), strict=True) for n in pair]
    mode = str(PytorchPadMode(inferer.padding_mode).value)
    value = float(inferer.cval) if mode == "constant" else None
    return functional.pad(batch, edges, mode=mode, value=value)
