from __future__ import annotations

import pytest
import torch

from pipelines.device import (
    chosen_device,
    forget_peak,
    peak_device_mib,
    peak_memory_mib,
    prepare_torch,
    told,
)
from pipelines.errors import InferenceFailed

CPU = torch.device("cpu")


def test_the_processor_can_be_asked_for_by_name() -> None:
    assert chosen_device("cpu") == CPU
    assert told(CPU) == "cpu"


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert chosen_device("auto").type == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_is_never_replaced_in_silence(name: str) -> None:
    with pytest.raises(InferenceFailed, match=f"device {name} is not there"):
        chosen_device(name)


def test_threads_are_bounded_only_when_a_number_is_given() -> None:
    before = torch.get_num_threads()
    try:
        prepare_torch(1)
        assert torch.get_num_threads() == 1
        prepare_torch(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_memory_is_told_in_mebibytes() -> None:
    assert 10 < peak_memory_mib() < 1 << 20
    assert peak_device_mib(CPU) is None


def test_the_peak_is_that_of_one_job_and_not_of_the_process() -> None:
    large = torch.ones(64 << 20, dtype=torch.uint8)
    with_it = peak_memory_mib()
    del large
    forget_peak(CPU)
    assert peak_memory_mib() < with_it - 32
