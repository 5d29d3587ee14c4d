"""Calls a network on windows, in the layout and precision that suit the device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from pipelines.definition_schema import Precision
from pipelines.exact_norms import ExactNorms

REDUCED: Mapping[Precision, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
VOLUMES = 5  # batch, channel and three axes


class NetworkCall:
    """A network, ready for windows [window, channel, x, y, z] of any device.

    Convolutions over volumes are about twice as fast with channels last. A network that cannot
    compute so (it takes apart its arrays by `view`) is set back to the usual layout, once.
    In reduced precision the network computes where torch deems it safe; answers are float32.
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        self._network = network
        self._device = device
        self._precision = precision

    def __call__(self, windows: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """The network's answer, whatever it is."""
        windows = windows.to(self._device, non_blocking=True)
        if windows.ndim != VOLUMES or not is_channels_last(self._network):
            return self._answer(windows, *args, **kwargs)
        layout = torch.channels_last_3d
        try:
            return self._answer(windows.contiguous(memory_format=layout), *args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            _laid_out(self._network, torch.contiguous_format)
            return self._answer(windows.contiguous(), *args, **kwargs)

    def _answer(self, windows: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with self._arithmetic(), _exact_on(self._device):
            answer = self._network(windows, *args, **kwargs)
        return answer.float() if isinstance(answer, torch.Tensor) else answer

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if not is_reduced(self._precision, self._device):
            return nullcontext()
        return torch.autocast(self._device.type, dtype=REDUCED[self._precision])


def _exact_on(device: torch.device) -> AbstractContextManager[Any]:
    return ExactNorms() if device.type == "cpu" else nullcontext()


def is_reduced(precision: Precision, device: torch.device) -> bool:
    """Whether a device computes in less than float32; a CPU has no fast float16."""
    return precision in REDUCED and (precision, device.type) != ("float16", "cpu")


def with_channels_last(network: nn.Module) -> nn.Module:
    """The same network with its convolutions' weights laid out channels last."""
    if not isinstance(network, torch.jit.ScriptModule):
        _laid_out(network, torch.channels_last_3d)
    return network


def contiguous(network: nn.Module) -> nn.Module:
    """The same network with its weights laid out as torch does by itself."""
    _laid_out(network, torch.contiguous_format)
    return network


def is_channels_last(network: nn.Module) -> bool:
    """Whether volumes should come to it channels last."""
    weights = (weight for weight in network.parameters() if weight.ndim == VOLUMES)
    return any(
        weight.is_contiguous(memory_format=torch.channels_last_3d) and not weight.is_contiguous()
        for weight in weights
    )


def _laid_out(network: nn.Module, layout: torch.memory_format) -> None:
    # Not by Module.to, which would lay out the weights of flat convolutions likewise, and cannot.
    for weight in network.parameters():
        if weight.ndim == VOLUMES:
            weight.data = weight.data.contiguous(memory_format=layout)
