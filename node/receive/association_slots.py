"""So many associations at once, over all receiver processes of a node.

Each association holds a lock on one byte of a file without a name (fcntl(2), F_SETLK): what a
process held is free again the moment it dies, and nobody has to count after it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading


def slots_file() -> int:
    """Return the descriptor of a new file for the locks of one node."""
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


class AssociationSlots:
    """The slots as one process sees them; safe to use from many threads.

    `descriptor` is the file that all processes of the node share; without one this process is
    alone. It must be closed by nobody else in this process: that would free all of its slots.
    """

    def __init__(self, most: int, descriptor: int | None = None) -> None:
        self._descriptor = slots_file() if descriptor is None else descriptor
        self._most = most
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._is_closed = False

    def take(self) -> bool:
        """Take a slot; False where all are taken."""
        with self._lock:
            return any(self._take(slot) for slot in range(self._most) if slot not in self._held)

    def give_back(self) -> None:
        """Give one slot back: one is as good as another."""
        with self._lock:
            slot = self._held.pop()
            if not self._is_closed:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, slot)

    def close(self) -> None:
        """Give everything back, for good."""
        with self._lock:
            self._is_closed = True
            os.close(self._descriptor)

    def _take(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except (BlockingIOError, PermissionError):  # POSIX leaves the choice
            return False
        self._held.add(slot)
        return True
