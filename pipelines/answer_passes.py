"""Further passes of a network over one image, for its uncertainty: flipped, or with dropout.

Every pass gives its answer plane by plane, as `answer_planes` does, on the axes of the image that
was not flipped; nothing of a pass is kept here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.orientations import io_orientation
from torch import nn

from pipelines.bundle import LoadedBundle
from pipelines.definition_schema import Precision
from pipelines.errors import InvalidBundle
from pipelines.inference import answer_planes
from pipelines.uncertainty_schema import DropoutUncertainty, FlipUncertainty

RAS_AXIS = {"left_right": 0, "front_back": 1, "head_foot": 2, "across": 0, "down": 1}
"""The last two of a projection, whose affine has columns first, then rows."""

Pass = Iterator[tuple[int, torch.Tensor]]
"""Planes [y, z, channel] of an answer, each with its place along the image's first axis."""


@dataclass(frozen=True, eq=False)
class AnswerPasses:
    """One preprocessed image and its model; `seed` makes dropout the same for the same job."""

    data: dict[str, Any]
    bundle: LoadedBundle
    precision: Precision
    window_batch: int | None
    seed: int

    def of(self, how: FlipUncertainty | DropoutUncertainty) -> Iterator[Pass]:
        """The passes, without the result's own. Raises `InvalidBundle` without any dropout."""
        if isinstance(how, FlipUncertainty):
            for axes in flips_of(self._image, how.axes):
                yield self._flipped(axes)
        else:
            dropouts = dropout_layers(self.bundle.network)
            for number in range(how.passes):
                yield self._dropped(dropouts, self.seed + number)

    @property
    def _image(self) -> MetaTensor:
        image: MetaTensor = self.data[self.bundle.metadata.input_key]
        return image

    def _planes(self, image: MetaTensor) -> Iterator[torch.Tensor]:
        data = {**self.data, self.bundle.metadata.input_key: image}
        for slab in answer_planes(data, self.bundle, self.precision, self.window_batch):
            yield from slab

    def _flipped(self, axes: tuple[int, ...]) -> Pass:
        image = self._image
        turned = torch.flip(image.as_tensor(), [axis + 1 for axis in axes])
        within = [axis - 1 for axis in axes if axis > 0]
        last = image.shape[1] - 1
        for index, plane in enumerate(self._planes(MetaTensor(turned, meta=image.meta))):
            yield (last - index if 0 in axes else index), torch.flip(plane, within)

    def _dropped(self, dropouts: list[nn.Module], seed: int) -> Pass:
        # The generator's state is taken along from plane to plane: others draw numbers, too.
        state = RandomStream(seed, self.bundle.device)
        planes = self._planes(self._image)
        for index in range(self._image.shape[1]):
            with state.drawn(), left_on(dropouts):
                plane = next(planes)
            yield index, plane


def seed_of(input_digest: str) -> int:
    """What dropout is drawn from: the same for the same input."""
    return int(input_digest[:8].encode().hex(), 16) % 2**63


def flips_of(image: MetaTensor, named: Sequence[str]) -> list[tuple[int, ...]]:
    """Sets of axes of `image` [channel, x, y(, z)], from 0, by what they are called."""
    affine = np.asarray(image.affine.cpu(), dtype=np.float64)
    along = [int(axis) for axis in io_orientation(affine)[:, 0]]
    axes = sorted(along.index(RAS_AXIS[name]) for name in named)
    counts = range(1, len(axes) + 1)
    return [chosen for count in counts for chosen in combinations(axes, count)]


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """The layers that drop something when they train, TorchScript's too.

    Raises `InvalidBundle` where there is none.
    """
    found = [
        layer
        for layer in network.modules()
        if "Dropout" in str(getattr(layer, "original_name", type(layer).__name__))
        and float(getattr(layer, "p", 1.0)) > 0.0
    ]
    if not found:
        text = "uncertainty: the network has no dropout to leave on; use `method: flips`"
        raise InvalidBundle(text)
    return found


@contextmanager
def left_on(layers: list[nn.Module]) -> Iterator[None]:
    """Inside, these layers drop as they did in training; the rest of the network does not."""
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


class RandomStream:
    """A stream of torch's random numbers that nothing else draws from."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        self._states: list[torch.Tensor] | None = None
        self._seed = seed

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Inside, torch's random numbers are the next ones of this stream."""
        with torch.random.fork_rng(self._devices):
            if self._states is None:
                torch.manual_seed(self._seed)
            else:
                torch.set_rng_state(self._states[0])
                for device, state in zip(self._devices, self._states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            yield
            cuda = [torch.cuda.get_rng_state(device) for device in self._devices]
            self._states = [torch.get_rng_state(), *cuda]
