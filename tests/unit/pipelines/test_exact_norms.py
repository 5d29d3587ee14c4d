"""Channels last, normalisation of many voxels is what it is in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, group_norm

from pipelines import exact_norms as exact
from pipelines.exact_norms import ExactNorms
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
    with ExactNorms():
        answer = group_norm(window, *given)
    stock = group_norm(window.contiguous(), *given)
    assert answer.dtype == dtype
    torch.testing.assert_close(answer, stock, check_stride=False)


@pytest.mark.parametrize("inference", [True, False])
def test_statistics_of_the_batch_itself_are_those_of_float64(inference: bool) -> None:
    window = volumes((2, 8, 72, 72, 72))
    network = nn.BatchNorm3d(8, track_running_stats=False).eval().requires_grad_(False)
    with torch.inference_mode(inference):
        answer = NetworkCall(network, CPU, "float32")._answer(window)
    truth = batch_norm(window.double(), None, None, training=True)
    assert answer.is_contiguous(memory_format=LAYOUT)
    assert float((answer - truth).abs().max()) < 2e-5


def test_statistics_of_the_training_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "group_norm", pytest.fail)
    window = volumes((2, 8, 5, 6, 7))
    network = nn.BatchNorm3d(8).eval()
    with torch.inference_mode():
        assert torch.equal(NetworkCall(network, CPU, "float32")._answer(window), network(window))


def test_gradients_are_those_of_torch() -> None:
    def gradient(window: torch.Tensor) -> torch.Tensor:
        window = window.detach().requires_grad_()
        (nn.GroupNorm(4, 8).double()(window) ** 3).sum().backward()
        assert window.grad is not None
        return window.grad

    window = volumes((1, 8, 9, 10, 11)).double()
    with ExactNorms():
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
