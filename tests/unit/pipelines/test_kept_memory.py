"""What a run frees stays with the process until the run ends, and not longer."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library cannot be told"
)

# In a process of its own: other tests leave holes in theirs, which are filled and emptied, too.
PROGRAM = """
import os
from contextlib import suppress
from pathlib import Path
from pipelines.kept_memory import kept_memory

LARGE_MIB = 192

def grown_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20) - BEFORE_MIB

def take_and_free():
    bytearray(b"1") * (LARGE_MIB << 20)

BEFORE_MIB = 0
BEFORE_MIB = grown_mib()
"""
KEPT, RETURNED = "assert grown_mib() > LARGE_MIB / 2", "assert grown_mib() < LARGE_MIB / 4"


def run(*lines: str) -> None:
    subprocess.run([sys.executable, "-c", "\n".join([PROGRAM, *lines])], check=True)


def test_freed_memory_is_kept_within_a_run_and_given_back_after_it() -> None:
    run("with kept_memory():", "    take_and_free()", f"    {KEPT}", RETURNED)


def test_a_run_that_fails_gives_its_memory_back_too() -> None:
    run(
        "with suppress(ValueError), kept_memory():",
        "    take_and_free()",
        f"    {KEPT}",
        "    raise ValueError",
        RETURNED,
    )


def test_afterwards_large_blocks_go_back_at_once_as_ever() -> None:
    run("with kept_memory():", "    pass", "take_and_free()", RETURNED)
