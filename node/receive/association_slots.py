"""So many associations at once, over all receiver processes of a node.

Each association holds a lock on one byte of the file that they share: what a process held is
free again the moment it dies, and nobody has to count after it.
"""

from __future__ import annotations

import threading

from node.receive.shared_file import SharedFile


class AssociationSlots:
    """`most` slots, on the bytes from `first` on; safe to use from many threads."""

    def __init__(self, most: int, file: SharedFile, first: int = 0) -> None:
        self._file = file
        self._bytes = range(first, first + most)
        self._lock = threading.Lock()
        self._held: set[int] = set()

    def take(self) -> bool:
        """Take a slot; False where all are taken."""
        with self._lock:
            return any(self._take(slot) for slot in self._bytes if slot not in self._held)

    def give_back(self) -> None:
        """Give one slot back: one is as good as another."""
        with self._lock:
            self._file.unlock(self._held.pop())

    def _take(self, slot: int) -> bool:
        if not self._file.try_lock(slot):
            return False
        self._held.add(slot)
        return True
