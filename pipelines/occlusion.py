"""Occlusion sensitivity (monai.visualize): what a class loses where the image is covered.

It needs nothing of the network but its answers, so it does for TorchScript and for inferers of
every kind, and takes one answer for each box. Covered is by the mean of the image. What is lost
is counted in log-odds: near certainty, probabilities hardly move.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.visualize import OcclusionSensitivity
from numpy.typing import NDArray
from torch import nn

from pipelines.classifying import Judge
from pipelines.errors import InferenceFailed, InvalidBundle
from pipelines.explanation_schema import Explanation
from pipelines.inference import NOT_FINITE, told_errors
from pipelines.map_on_source import TEXT, on_source
from pipelines.series_volume import SeriesVolume

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
        self._data, self._judge, self._how = data, judge, how
        image: MetaTensor = data[judge.bundle.metadata.input_key]
        batch = torch.as_tensor(image.as_tensor(), dtype=torch.float32)[None]
        self._batch = batch.to(judge.bundle.device)
        self.boxes = box_edges(tuple(batch.shape[2:]), how.steps)
        self._maps: torch.Tensor | None = None

    @property
    def means(self) -> str:
        """What was covered, for people."""
        return f"in boxes of {' x '.join(map(str, self.boxes))}"

    def network_map(self, output: int) -> torch.Tensor:
        """What the network's `output` hangs on, [x, y(, z)] of its own grid, 0 to 1.

        Raises `TooLong` and `InferenceFailed`.
        """
        if self._maps is None:
            self._maps = self._lost()
        values = self._maps[output].clamp(min=0.0)
        return values / float(values.max().clamp(min=torch.finfo(torch.float32).tiny))

    def source_map(self, output: int, source: SeriesVolume) -> NDArray[np.float32]:
        """The same on the grid of the (upright) `source`, [slice, row, column]."""
        return on_source(self.network_map(output), self._data, self._judge.bundle, source)

    def _lost(self) -> torch.Tensor:
        """How far the log-odds of each class fall, [class, x, y(, z)], where it is covered."""
        seen = self._judge.log_odds(self._batch)[0]
        covered = OcclusionSensitivity(
            _Timed(self._judge, self._how.time_limit_s),
            mask_size=self.boxes,
            n_batch=AT_ONCE,
            mode="mean_img",
            overlap=OVERLAP,
            verbose=False,
            activate=False,
        )
        with told_errors(self._judge.bundle, self._batch), torch.inference_mode():
            found, _ = covered(self._batch)
        values: torch.Tensor = torch.as_tensor(found)[0].float().cpu()
        if not bool(torch.isfinite(values).all()):
            raise InferenceFailed(NOT_FINITE)
        lost: torch.Tensor = seen.float().view(-1, *[1] * len(self.boxes)) - values
        return lost.as_tensor() if isinstance(lost, MetaTensor) else lost


class _Timed(nn.Module):
    """The classifier as OcclusionSensitivity calls it: log-odds, until the time is over."""

    def __init__(self, judge: Judge, limit_s: float) -> None:
        super().__init__()
        self._judge, self._limit_s = judge, limit_s
        self._started = monotonic()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if monotonic() - self._started > self._limit_s:
            raise TooLong(f"covering the image box by box took longer than {self._limit_s:g} s")
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
