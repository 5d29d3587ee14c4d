"""Large tensors on pages of their own are tensors like others, and go back when they are let go."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.mapped_zeros import LARGE_BYTES, mapped_zeros

CPU = torch.device("cpu")
RESIDENT_KIB = 4


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * RESIDENT_KIB << 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("count", [7, LARGE_BYTES], ids=["small", "large"])
def test_they_are_zero_until_they_are_written(dtype: torch.dtype, count: int) -> None:
    zeros = mapped_zeros((2, count), CPU, dtype)
    assert (zeros.shape, zeros.dtype, int(zeros.count_nonzero())) == ((2, count), dtype, 0)
    zeros[1] += 1
    assert int(zeros.count_nonzero()) == count


def test_pages_live_as_long_as_the_last_view_of_them() -> None:
    before = resident_bytes()
    zeros = mapped_zeros((16, LARGE_BYTES), CPU, torch.uint8)
    zeros.fill_(1)
    view = zeros[3:4]
    del zeros
    assert resident_bytes() - before > 15 * LARGE_BYTES
    assert bool((view == 1).all())
    del view
    assert resident_bytes() - before < 2 * LARGE_BYTES


def test_what_the_system_cannot_give_is_out_of_memory() -> None:
    with pytest.raises(MemoryError):
        mapped_zeros((1 << 50,), CPU)
