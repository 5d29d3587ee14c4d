from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pipelines.errors import DeviceOutOfMemory, InferenceFailed
from pipelines.smaller_means import with_smaller_means

CPU = torch.device("cpu")
GPU = torch.device("cuda:0")


Means = tuple[torch.device, int | None]


def fits_from(smallest: int) -> tuple[list[Means], Callable[[torch.device, int | None], str]]:
    tried: list[Means] = []

    def run(device: torch.device, window_batch: int | None) -> str:
        tried.append((device, window_batch))
        if len(tried) < smallest:
            raise DeviceOutOfMemory("full")
        return "labels"

    return tried, run


def test_what_fits_at_once_is_run_once() -> None:
    tried, run = fits_from(1)
    assert with_smaller_means(CPU, run) == ("labels", "cpu")
    assert tried == [(CPU, None)]


def test_a_full_device_gets_its_windows_one_by_one_and_the_job_says_so() -> None:
    tried, run = fits_from(2)
    _, told = with_smaller_means(CPU, run)
    assert tried == [(CPU, None), (CPU, 1)]
    assert told == "cpu, window by window (out of memory)"


def test_a_gpu_that_is_too_small_leaves_the_job_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    tried, run = fits_from(3)
    _, told = with_smaller_means(GPU, run)
    assert tried == [(GPU, None), (GPU, 1), (CPU, 1)]
    assert told == "cpu (cuda:0 out of memory)"


def test_where_nothing_is_enough_the_job_fails() -> None:
    _, run = fits_from(9)
    with pytest.raises(DeviceOutOfMemory, match="smallest batch"):
        with_smaller_means(CPU, run)


def test_another_failure_is_not_tried_again() -> None:
    def run(device: torch.device, window_batch: int | None) -> str:
        raise InferenceFailed("broken")

    with pytest.raises(InferenceFailed, match="broken"):
        with_smaller_means(CPU, run)
