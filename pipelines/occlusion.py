"""Occlusion sensitivity (monai.visualize): what a class loses where the image is covered.

It needs nothing of the network but its answers, so it does for TorchScript and for inferers of
every kind, and takes one answer for each box. Covered is by the mean of the image. What is lost
is counted in log-odds: near certainty, probabilities hardly move.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import torch
from monai.data import MetaTensor
from monai.visualize import OcclusionSensitivity
from torch import nn

from pipelines.classifying import Judge
from pipelines.errors import InferenceFailed, InvalidBundle
from pipelines.explanation_schema import Explanation
from pipelines.inference import NOT_FINITE, told_errors
from pipelines.map_on_source import TEXT

OVERLAP = 0.5
STEPS_OF_PICTURES, STEPS_OF_VOLUMES = 16, 7
AT_ONCE = 4
METHOD = "Occlusion sensitivity"


class TooLong(Exception):
    """The boxes would take longer than the definition allows; the text says how long it did."""


class Occluder:
    """Makes the maps of one preprocessed image. Raises `InvalidBundle` for images of one row."""

    method = METHOD

    def __init__(self, data: dict[str, Any], judge: Judge, how: Explanation) -> None:
        self._judge, self._how = judge, how
        image: MetaTensor = data[judge.bundle.metadata.input_key]
        batch = torch.as_tensor(image.as_tensor(), dtype=torch.float32)[None]
        self._batch = batch.to(judge.bundle.device)
        self.boxes = box_edges(tuple(batch.shape[2:]), how.steps)
        self._maps: dict[tuple[int, int], torch.Tensor] = {}

    @property
    def means(self) -> str:
        """What was covered, for people."""
        return f"in boxes of {' x '.join(map(str, self.boxes))}"

    @property
    def box_count(self) -> int:
        """How many answers of the network the boxes take."""
        return box_count(tuple(self._batch.shape[2:]), self.boxes)

    def network_map(self, output: int, channels: slice | None = None) -> torch.Tensor:
        """What the network's `output` hangs on, [x, y(, z)] of its own grid, 0 to 1.

        Only `channels` of the image are covered, None: all. Raises `TooLong`, `InferenceFailed`.
        """
        place = (channels.start, channels.stop) if channels else (0, self._batch.shape[1])
        if place not in self._maps:
            self._maps[place] = self._lost(slice(*place))
        values = self._maps[place][output].clamp(min=0.0)
        return values / float(values.max().clamp(min=torch.finfo(torch.float32).tiny))

    def _lost(self, channels: slice) -> torch.Tensor:
        """How far the log-odds of each class fall, [class, x, y(, z)], where it is covered."""
        seen = self._judge.log_odds(self._batch)[0]
        covered = OcclusionSensitivity(
            _Timed(self._judge, self._batch, channels, self._how.time_limit_s),
            mask_size=self.boxes,
            n_batch=AT_ONCE,
            mode="mean_img",
            overlap=OVERLAP,
            verbose=False,
            activate=False,
        )
        with told_errors(self._judge.bundle, self._batch), torch.inference_mode():
            found, _ = covered(self._batch[:, channels])
        values: torch.Tensor = torch.as_tensor(found)[0].float().cpu()
        if not bool(torch.isfinite(values).all()):
            raise InferenceFailed(NOT_FINITE)
        lost: torch.Tensor = seen.float().view(-1, *[1] * len(self.boxes)) - values
        return lost.as_tensor() if isinstance(lost, MetaTensor) else lost


class _Timed(nn.Module):
    """The classifier as OcclusionSensitivity calls it, until the time is over.

    It is given the channels that are covered, and puts them into the image.
    """

    def __init__(self, judge: Judge, image: torch.Tensor, channels: slice, limit_s: float) -> None:
        super().__init__()
        self._judge, self._image, self._channels = judge, image, channels
        self._limit_s, self._started = limit_s, monotonic()

    def forward(self, covered: torch.Tensor) -> torch.Tensor:
        if monotonic() - self._started > self._limit_s:
            raise TooLong(f"covering the image box by box took longer than {self._limit_s:g} s")
        batch = self._image.repeat(len(covered), *[1] * (self._image.ndim - 1))
        batch[:, self._channels] = covered
        return self._judge.log_odds(batch).to(batch)


def box_edges(shape: tuple[int, ...], steps: int | None) -> tuple[int, ...]:
    """Edges of the boxes, so that `steps` of them, half over each other, go along each axis."""
    wanted = steps or (STEPS_OF_PICTURES if len(shape) == 2 else STEPS_OF_VOLUMES)
    if min(shape) < 2:
        raise InvalidBundle(f"{TEXT}an image of {shape} is too small to cover parts of it")
    return tuple(max(1, min(size - 1, round(2 * size / (wanted + 1)))) for size in shape)


def box_count(shape: tuple[int, ...], boxes: tuple[int, ...]) -> int:
    """How many answers of the network the boxes take."""
    count = 1
    for size, box in zip(shape, boxes, strict=True):
        count *= -(-(size - box) // max(1, int(box * (1 - OVERLAP)))) + 1
    return count
