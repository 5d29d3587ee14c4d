"""Planes that windows finish one after the other are MONAI's sliding window inference."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer, SlidingWindowInfererAdapt

from pipelines import windows
from pipelines.windows import NotAsPlanned, finished_planes, window_plan


class Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv3d(2, 3, 3, padding=1)
        self.windows = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.windows += len(x)
        answer: torch.Tensor = self.conv(x)
        return answer


def planes_of(image: torch.Tensor, network: Any, inferer: Any) -> torch.Tensor:
    plan = window_plan(inferer, image)
    assert plan is not None
    with torch.inference_mode():
        return torch.cat([slab.clone() for slab in finished_planes(image, network, plan)])


@pytest.mark.parametrize(
    "settings",
    [
        {"roi_size": (8, 8, 8), "overlap": 0.5, "mode": "gaussian"},
        {"roi_size": (8, 6, 10), "overlap": 0.25, "sw_batch_size": 3},
        {"roi_size": (8, -1, 10), "overlap": (0.5, 0.0, 0.75)},
        {"roi_size": 9, "overlap": 0.6, "sigma_scale": 0.25, "mode": "gaussian"},
        {"roi_size": (32, 8, 40), "padding_mode": "replicate", "mode": "gaussian"},
        {"roi_size": (32, 32, 32), "cval": -3.0},
    ],
    ids=["gaussian", "batches", "whole axis", "one side", "larger than the image", "one window"],
)
def test_the_answer_is_that_of_monai(settings: dict[str, Any]) -> None:
    inferer = SlidingWindowInferer(**settings)
    image = torch.randn((1, 2, 21, 17, 13), generator=torch.Generator().manual_seed(1))
    network = Counting().eval()
    with torch.inference_mode():
        stock = inferer(image, network)[0].permute(1, 2, 3, 0)
    torch.testing.assert_close(planes_of(image, network, inferer), stock, atol=1e-5, rtol=1e-5)


def test_windows_of_one_value_cost_one_pass() -> None:
    inferer = SlidingWindowInferer((8, 8, 8), sw_batch_size=2, overlap=0.5)
    image = torch.zeros((1, 2, 40, 16, 16))
    image[:, :, :8] = torch.randn((1, 2, 8, 16, 16), generator=torch.Generator().manual_seed(1))
    network = Counting().eval()
    ours = planes_of(image, network, inferer)
    computed, network.windows = network.windows, 0
    with torch.inference_mode():
        stock = inferer(image, network)[0].permute(1, 2, 3, 0)
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-5)
    assert network.windows == 81
    assert computed == 18 + 1


def test_an_answer_too_large_to_remember_is_computed_for_each_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "LARGEST_REMEMBERED_BYTES", 0)
    inferer = SlidingWindowInferer((8, 8, 8), overlap=0.5)
    image = torch.zeros((1, 2, 16, 8, 8))
    network = Counting().eval()
    ours = planes_of(image, network, inferer)
    assert network.windows == 3
    with torch.inference_mode():
        stock = inferer(image, network)[0].permute(1, 2, 3, 0)
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-5)


def test_no_more_planes_are_held_than_a_window_is_thick() -> None:
    inferer = SlidingWindowInferer((8, 8, 8), overlap=0.5)
    image = torch.randn((1, 2, 64, 8, 8))
    plan = window_plan(inferer, image)
    assert plan is not None
    with torch.inference_mode():
        slabs = [slab.shape[0] for slab in finished_planes(image, Counting().eval(), plan)]
    assert max(slabs) <= 8
    assert sum(slabs) == 64


@pytest.mark.parametrize(
    "inferer",
    [
        SimpleInferer(),
        SlidingWindowInfererAdapt((8, 8, 8)),
        SlidingWindowInferer((8, 8, 8), with_coord=True),
        SlidingWindowInferer((8, 8)),
    ],
    ids=["simple", "adapting", "with coordinates", "flat"],
)
def test_another_inferer_runs_as_it_is(inferer: Any) -> None:
    assert window_plan(inferer, torch.zeros((1, 1, 16, 16, 16))) is None


def test_an_answer_on_another_grid_than_its_window_is_not_planned_for() -> None:
    plan = window_plan(SlidingWindowInferer((8, 8, 8)), torch.zeros((1, 1, 16, 16, 16)))
    assert plan is not None
    with pytest.raises(NotAsPlanned):
        list(finished_planes(torch.zeros((1, 1, 16, 16, 16)), torch.nn.MaxPool3d(2), plan))


def test_no_answer_is_held_while_the_next_one_is_made() -> None:
    given: list[weakref.ref[torch.UntypedStorage]] = []
    held: list[int] = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        held.append(sum(storage() is not None for storage in given))
        answer = batch + 1
        given.append(weakref.ref(answer.untyped_storage()))
        return answer

    image = torch.randn((1, 1, 24, 16, 16), generator=torch.Generator().manual_seed(1))
    planes_of(image, network, SlidingWindowInferer((8, 8, 8), overlap=0.5))
    assert (len(held) > 10, max(held)) == (True, 0)
