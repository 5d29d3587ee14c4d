"""Space on the disk for a file, reserved before its content comes.

A file system that knows the blocks already takes the content in two thirds of the time. It is a
favour that not every one grants: where there is none, files are written as they ever were.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress

BLOCK_BYTES = 1 << 12
MOST_BYTES = 1 << 22
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of fallocate(2): the file stays as long, or short, as it is."""
_LOOKED_BACK = 4
_LEAST_KNOWN = 2

_Fallocate = Callable[[int, int, int, int], int]


def _fallocate_of_system() -> _Fallocate | None:
    # Elsewhere there is none, or its offsets have another width.
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    found = getattr(ctypes.CDLL(None), "fallocate", None)
    if found is not None:
        found.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return found


_fallocate = _fallocate_of_system()


def reserve(descriptor: int, size_bytes: int) -> int:
    """Reserve space for the first bytes of an empty file; how many, 0 where that is not granted."""
    if not size_bytes or _fallocate is None:
        return 0
    if not _fallocate(descriptor, _KEEP_SIZE, 0, size_bytes):
        return size_bytes
    with suppress(OSError):
        # On a full disk ext4 keeps what it could get until then.
        os.ftruncate(descriptor, 0)
    return 0


class UsualSize:
    """How large the next file will be at least, by the last ones of the same sender."""

    def __init__(self) -> None:
        self._last: deque[int] = deque(maxlen=_LOOKED_BACK)

    def note(self, size_bytes: int) -> None:
        """A file had this size."""
        self._last.append(size_bytes)

    def at_least_bytes(self) -> int:
        """Whole blocks that the next file will probably fill; 0: nobody knows yet."""
        if len(self._last) < _LEAST_KNOWN:
            return 0
        return min(*self._last, MOST_BYTES) // BLOCK_BYTES * BLOCK_BYTES
