"""Lets a run keep the memory that it frees, and gives it back to the system afterwards.

A network's layers take and free the same hundreds of megabytes for every batch of windows. The C
library returns such blocks to the system at once, and each is cleared page by page when it is
asked for again: on a CPU that costs as much time as a third of the convolutions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# malloc.h of glibc, and what it starts with
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
USUAL_BYTES = 128 << 10
WITHOUT_LIMIT = (1 << 31) - 1


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within the block, freed memory stays with this process; at its end the unused is returned.

    For the main thread, and where the C library is glibc; elsewhere nothing is changed.
    """
    tune, trim = _function("mallopt"), _function("malloc_trim")
    if tune is None or trim is None:
        yield
        return
    try:
        _set(tune, WITHOUT_LIMIT)
        yield
    finally:
        _set(tune, USUAL_BYTES)
        trim(0)


def _set(tune: Callable[[int, int], int], threshold: int) -> None:
    for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
        tune(parameter, threshold)


def _function(name: str) -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None), name, None)
    return function if callable(function) else None
