"""MONAI's sliding window inference, given out plane by plane as planes are finished.

Windows are placed, weighted and padded as `monai.inferers.sliding_window_inference` does, so that
the answer is the same. They go through the volume along its first axis, and only as many planes
as one window is thick are held: that, not the volume, bounds the memory. The layout is channels
last, as networks compute fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.inferers.utils import _get_scan_interval as scan_interval
from monai.utils import fall_back_tuple
from torch.nn.functional import pad

from pipelines.mapped_zeros import mapped_zeros

Network = Callable[[torch.Tensor], Any]
Window = tuple[slice, ...]
AXES = 3

LARGEST_REMEMBERED_BYTES = 256 << 20
"""A larger answer is computed again for every window of one value, to save its memory."""


class NotAsPlanned(Exception):
    """The network does not answer window by window on the grid of its input."""


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Where windows lie in an image [1, channel, x, y, z] that is padded by `padding`."""

    roi: tuple[int, ...]
    batch: int
    padding: tuple[tuple[int, int], ...]
    windows: tuple[Window, ...]
    importance: torch.Tensor
    mode: str
    fill: float

    def padded(self, image: torch.Tensor) -> torch.Tensor:
        """The image, as large as a window at least."""
        if not any(sum(self.padding, ())):
            return image
        sides = [side for pair in reversed(self.padding) for side in pair]
        return pad(image, sides, mode=self.mode, value=self.fill)


def window_plan(inferer: Any, image: torch.Tensor) -> WindowPlan | None:
    """The plan of a MONAI inferer for an image [1, channel, x, y, z].

    None where the inferer does more than sliding windows of a fixed size.
    """
    if type(inferer) is not SlidingWindowInferer or inferer.with_coord or image.ndim != AXES + 2:
        return None
    if isinstance(inferer.roi_size, Sequence) and len(inferer.roi_size) != AXES:
        return None  # MONAI says what is wrong with it
    shape = tuple(image.shape[2:])
    roi = tuple(int(side) for side in fall_back_tuple(inferer.roi_size, shape))
    overlap = inferer.overlap
    overlaps = [overlap] * AXES if isinstance(overlap, int | float) else list(overlap)
    padding = tuple(_sides(max(side - count, 0)) for side, count in zip(roi, shape, strict=True))
    size = tuple(max(pair) for pair in zip(roi, shape, strict=True))
    interval = scan_interval(size, roi, AXES, overlaps)
    importance = inferer.roi_weight_map
    if importance is None:
        importance = compute_importance_map(
            roi, mode=inferer.mode, sigma_scale=inferer.sigma_scale, device="cpu"
        )
    return WindowPlan(
        roi=roi,
        batch=int(inferer.sw_batch_size),
        padding=padding,
        windows=tuple(dense_patch_slices(size, roi, interval, return_slice=True)),
        importance=importance.to(image.device, torch.float32).reshape(roi),
        mode=str(getattr(inferer.padding_mode, "value", inferer.padding_mode)),
        fill=float(inferer.cval),
    )


def finished_planes(
    image: torch.Tensor, network: Network, plan: WindowPlan
) -> Iterator[torch.Tensor]:
    """The answer [plane, y, z, channel], float32, in order along the first axis of `image`.

    Raises `NotAsPlanned` when the network's answer is no tensor on its window's grid.
    """
    padded = plan.padded(image)
    inner = tuple(map(_inner, plan.padding, image.shape[2:]))
    rolling = _Rolling(plan, tuple(padded.shape[2:]))
    answers = _Answers(network, plan)
    for start, group in groupby(plan.windows, key=lambda window: window[0].start):
        yield from rolling.finished_before(start, inner)
        for batch in _batches(list(group), plan.batch):
            rolling.add_all(batch, answers.of(padded, batch))
    yield from rolling.finished_before(padded.shape[2], inner)


class _Answers:
    """The network's answers to windows, [x, y, z, channel]; one for all windows of one value.

    Outside of the body many windows hold a single value, and a network answers the same to the
    same: they cost one pass.
    """

    def __init__(self, network: Network, plan: WindowPlan) -> None:
        self._network = network
        self._roi = plan.roi
        self._flat: tuple[tuple[float, ...], torch.Tensor] | None = None

    def of(self, image: torch.Tensor, windows: Sequence[Window]) -> Iterator[torch.Tensor]:
        """The answers in order."""
        inputs = [image[(slice(None), slice(None), *window)] for window in windows]
        values = [_only_value(one) for one in inputs]
        textured = [one for one, value in zip(inputs, values, strict=True) if value is None]
        answers = iter(self._computed(torch.cat(textured)) if textured else ())
        for one, value in zip(inputs, values, strict=True):
            yield next(answers) if value is None else self._answer_to_flat(one, value)

    def _answer_to_flat(self, one: torch.Tensor, value: tuple[float, ...]) -> torch.Tensor:
        if self._flat is not None and self._flat[0] == value:
            return self._flat[1]
        self._flat = None  # before the next one is made: two of them are much
        answer = self._computed(one)[0]
        if answer.nbytes <= LARGEST_REMEMBERED_BYTES:
            self._flat = value, answer
        return answer

    def _computed(self, batch: torch.Tensor) -> torch.Tensor:
        answer = self._network(batch)
        if not isinstance(answer, torch.Tensor) or tuple(answer.shape[2:]) != self._roi:
            raise NotAsPlanned
        return answer.permute(0, 2, 3, 4, 1)


class _Rolling:
    """Sums of weighted answers over the planes that windows still may touch."""

    def __init__(self, plan: WindowPlan, shape: tuple[int, ...]) -> None:
        self._importance = plan.importance
        self._depth = plan.roi[0]
        self._start = 0
        self._weights = mapped_zeros((self._depth, *shape[1:]), plan.importance.device)
        self._sums: torch.Tensor | None = None

    def add_all(self, windows: Sequence[Window], answers: Iterator[torch.Tensor]) -> None:
        """Blend in the answers, of which none is held afterwards, while the next are made."""
        for window, answer in zip(windows, answers, strict=True):
            self.add(window, answer)

    def add(self, window: Window, answer: torch.Tensor) -> None:
        """Blend in an answer [x, y, z, channel]."""
        if self._sums is None:
            size = (*self._weights.shape, answer.shape[-1])
            self._sums = mapped_zeros(size, self._weights.device)
        offset = window[0].start - self._start
        place = (slice(offset, offset + self._depth), *window[1:])
        self._sums[place].addcmul_(answer.to(self._sums), self._importance[..., None])
        self._weights[place] += self._importance

    def finished_before(self, start: int, inner: tuple[slice, ...]) -> Iterator[torch.Tensor]:
        """Give out the planes before `start`, which no window reaches any more, cut to `inner`.

        What is given out is valid until the next one is asked for.
        """
        count = start - self._start
        if self._sums is None or count == 0:
            return
        low = max(inner[0].start - self._start, 0)
        high = min(inner[0].stop - self._start, count)
        if low < high:
            finished = self._sums[low:high]
            finished /= self._weights[low:high, ..., None]
            yield finished[:, inner[1], inner[2]]
        for kept in (self._sums, self._weights):
            _shift(kept, count)
        self._start = start


def _shift(planes: torch.Tensor, by: int) -> None:
    for plane in range(len(planes) - by):  # one by one: source and target overlap
        planes[plane].copy_(planes[plane + by])
    planes[len(planes) - by :].zero_()


def _only_value(window: torch.Tensor) -> tuple[float, ...] | None:
    low, high = torch.aminmax(window.flatten(2), dim=-1)
    return tuple(low.flatten().tolist()) if bool((low == high).all()) else None


def _inner(sides: tuple[int, int], count: int) -> slice:
    return slice(sides[0], sides[0] + count)


def _sides(missing: int) -> tuple[int, int]:
    return missing // 2, missing - missing // 2


def _batches(windows: list[Window], size: int) -> Iterator[list[Window]]:
    for start in range(0, len(windows), size):
        yield windows[start : start + size]
