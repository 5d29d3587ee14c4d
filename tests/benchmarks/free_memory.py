"""Free memory that is at hand: what a run takes is touched before it.

A virtual machine may give free memory back to its host. To get it again costs whoever writes to it
first, page by page, more time than the quickest receiver takes for all it does.
"""

from __future__ import annotations

import mmap

_TOUCHED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE


def touch_free_memory(size_bytes: int) -> None:
    """Have the kernel of this machine get so much memory from its host, and leave it free."""
    mmap.mmap(-1, size_bytes, _TOUCHED).close()
