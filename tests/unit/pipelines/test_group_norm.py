"""Channels last, group normalisation of many voxels is what it is in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import group_norm

from pipelines import group_norm as exact
from pipelines.group_norm import ExactGroupNorm
from pipelines.network_call import NetworkCall, with_channels_last

CPU = torch.device("cpu")
LAYOUT = torch.channels_last_3d
EPS = 1e-5


def volumes(shape: tuple[int, ...], seed: int = 4) -> torch.Tensor:
    """A patient in the middle of a padded window: most values are their channel's one value."""
    generator = torch.Generator().manual_seed(seed)
    inner = [slice(side // 3, side - side // 3) for side in shape[2:]]
    padded = torch.zeros(shape)
    patient = padded[(slice(None), slice(None), *inner)]
    patient += 3 * torch.randn(patient.shape, generator=generator)
    padded += torch.randn((1, shape[1], 1, 1, 1), generator=generator)
    return padded.contiguous(memory_format=LAYOUT)


class ByFunction(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return group_norm(x, 4, None, None, EPS)


@pytest.mark.parametrize(
    "network",
    [
        lambda: nn.GroupNorm(4, 8),
        ByFunction,
        lambda: torch.jit.trace(ByFunction(), volumes((1, 8, 3, 4, 5))),  # type: ignore[no-untyped-call]
    ],
    ids=["layer", "function", "torchscript"],
)
def test_a_padded_window_is_normalised_as_float64_does(network: Callable[[], nn.Module]) -> None:
    window = volumes((1, 8, 96, 96, 96))
    with torch.inference_mode():
        answer = NetworkCall(network(), CPU, "float32")._answer(window)
        truth = group_norm(window.double(), 4, None, None, EPS)
    assert answer.is_contiguous(memory_format=LAYOUT)
    assert float((answer - truth).abs().max()) < 2e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((2, 6, 5, 4, 3), 3), ((1, 1, 4, 3, 2), 1), ((3, 4, 1, 1, 1), 2)],
    ids=["batch", "one channel", "one voxel"],
)
def test_items_groups_and_weights_are_those_of_torch(
    shape: tuple[int, ...], groups: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "VALUES_OF_A_BLOCK", 16)
    window = volumes(shape).to(dtype)
    weight, bias = volumes(shape, 5)[0, :, 0, 0, 0], volumes(shape, 6)[0, :, 0, 0, 0]
    given: list[Any] = [groups, weight.to(dtype), bias.to(dtype), EPS]
    with ExactGroupNorm():
        answer = group_norm(window, *given)
    stock = group_norm(window.contiguous(), *given)
    assert answer.dtype == dtype
    torch.testing.assert_close(answer, stock, check_stride=False)


def test_gradients_are_those_of_torch() -> None:
    def gradient(window: torch.Tensor) -> torch.Tensor:
        window = window.detach().requires_grad_()
        (nn.GroupNorm(4, 8).double()(window) ** 3).sum().backward()
        assert window.grad is not None
        return window.grad

    window = volumes((1, 8, 9, 10, 11)).double()
    with ExactGroupNorm():
        found = gradient(window)
    torch.testing.assert_close(found, gradient(window.contiguous()), check_stride=False)


def test_another_layout_and_other_layers_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "group_norm", pytest.fail)
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.GroupNorm(2, 4)).eval()
    window = volumes((1, 2, 8, 9, 10)).contiguous()
    with torch.inference_mode():
        stock = network(window)
        assert torch.equal(NetworkCall(network, CPU, "float32")(window), stock)


def test_channels_last_answers_as_the_usual_layout_does() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.Conv3d(8, 2, 1))
    window = volumes((1, 1, 96, 96, 96)).contiguous()
    with torch.inference_mode():
        stock = network.eval()(window)
        fast = NetworkCall(with_channels_last(network), CPU, "float32")(window)
    assert float((fast - stock).abs().max()) < 2e-5
