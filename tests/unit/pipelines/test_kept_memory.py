"""What a run frees stays with the process until the run ends, and not longer."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
import torch

from pipelines.kept_memory import kept_memory

MIB = 1 << 20
LARGE_MIB = 192

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library cannot be told"
)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def take_and_free() -> None:
    torch.ones(LARGE_MIB * MIB, dtype=torch.uint8)


def take_and_fail() -> None:
    take_and_free()
    raise RuntimeError


def test_freed_memory_is_kept_within_a_run_and_given_back_after_it() -> None:
    before = resident_mib()
    with kept_memory():
        take_and_free()
        within = resident_mib()
    assert within > before + LARGE_MIB / 2
    assert resident_mib() < before + LARGE_MIB / 4


def test_a_run_that_fails_gives_its_memory_back_too() -> None:
    before = resident_mib()
    with pytest.raises(RuntimeError), kept_memory():
        take_and_fail()
    assert resident_mib() < before + LARGE_MIB / 4


def test_afterwards_large_blocks_go_back_at_once_as_ever() -> None:
    with kept_memory():
        pass
    before = resident_mib()
    take_and_free()
    assert resident_mib() < before + LARGE_MIB / 4
