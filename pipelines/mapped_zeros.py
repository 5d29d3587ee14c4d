"""Large tensors on pages of their own, outside of the C library's heap.

Within `kept_memory` all blocks come from one heap. A large one that outlives the windows lies
there in the midst of blocks of the layers, which then find no hole that is large enough any more:
glibc aligns by asking for more than it was asked, and a hole of just the right size is too small.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import torch

LARGE_BYTES = 8 << 20


def mapped_zeros(
    shape: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A tensor of zeros; its pages are returned to the system together with it."""
    size = dtype.itemsize * prod(shape)
    if device.type != "cpu" or size < LARGE_BYTES:
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    return torch.frombuffer(_pages(size), dtype=dtype).view(tuple(shape))


def _pages(size: int) -> mmap.mmap:
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{size} bytes for the sums of windows") from error
    with suppress(AttributeError, OSError):  # not every kernel has them; one is cleared at a touch
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages
