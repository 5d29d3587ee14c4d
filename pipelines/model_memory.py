"""An estimate of a model's memory, from shapes alone: nothing is computed."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from pipelines.bundle import LoadedBundle

BYTES_PER_FLOAT = 4
LARGEST_HELD = 4  # layers whose outputs are held at once: input, output and a skip or two
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """MiB of the weights, of one window's layers (None when shapes cannot be followed), and of
    the answer of a volume of `voxels` network voxels."""

    weights_mib: float
    window_mib: float | None
    answer_mib: float

    @property
    def total_mib(self) -> float:
        """All at once."""
        return self.weights_mib + (self.window_mib or 0.0) + self.answer_mib


def memory_estimate(bundle: LoadedBundle, voxels: int) -> MemoryEstimate:
    """Estimate for a volume of so many voxels on the network's grid."""
    tensors = [*bundle.network.parameters(), *bundle.network.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    window = _window_bytes(bundle)
    channels = max(1, len(bundle.metadata.channels))
    # Twice: the running sum of the windows, and the answer made of it.
    answer = 2 * channels * voxels * BYTES_PER_FLOAT
    return MemoryEstimate(weights / MIB, window / MIB if window else None, answer / MIB)


def window_shape(bundle: LoadedBundle) -> tuple[int, ...] | None:
    """The window's edges in voxels, None when the inferer takes the image as a whole."""
    size = getattr(bundle.inferer, "roi_size", None)
    if isinstance(size, int):
        return (size, size, size)
    edges = tuple(int(edge) for edge in size or ())
    return edges if edges and min(edges) > 0 else None


def _window_bytes(bundle: LoadedBundle) -> int | None:
    edges = window_shape(bundle)
    if edges is None or isinstance(bundle.network, torch.jit.ScriptModule):  # cannot go to `meta`
        return None
    held: list[int] = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            held.append(output.numel() * BYTES_PER_FLOAT)

    with suppress(RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError):
        network = copy.deepcopy(bundle.network).to("meta")
        for module in network.modules():
            if not any(module.children()):
                module.register_forward_hook(note)
        batch = int(getattr(bundle.inferer, "sw_batch_size", 1))
        shape = (batch, bundle.metadata.input_channels, *edges)
        with torch.inference_mode():
            network(torch.empty(shape, device="meta"))
        held.append(prod(shape) * BYTES_PER_FLOAT)
        return sum(sorted(held)[-LARGEST_HELD:])
    return None
