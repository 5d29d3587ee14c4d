"""Whose turn it is to write to a SQLite file: one transaction at a time, over all processes.

SQLite's own wait for a lock sleeps in steps that grow to 100 ms, so that a few busy processes keep
a late comer out for seconds. Here threads wait for each other in the kernel, and processes by a
kernel lock (flock) that is asked for every few tenths of a millisecond. A killed process loses it
with its descriptors, so nobody waits for the dead. Whoever writes without asking (another program)
is still kept apart by SQLite itself.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import DatabaseUnavailable

SHORTEST_WAIT_S = 0.0002
LONGEST_WAIT_S = 0.002
GROWTH = 1.2


class WriteTurn:
    """The turn of one process at one database file."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.turn")
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    @contextmanager
    def taken(self, timeout_s: float) -> Iterator[None]:
        """Write within the block.

        Raises:
            DatabaseUnavailable: the turn did not come in time.
        """
        deadline = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            raise DatabaseUnavailable("the database is busy with other writers")
        try:
            descriptor = self._opened()
            _wait(descriptor, deadline)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give the descriptor back; a later turn opens it again."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _opened(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            try:
                self._descriptor = os.open(self._path, flags, 0o600)
            except OSError as error:
                text = f"the lock of the database cannot be opened: {error.strerror}"
                raise DatabaseUnavailable(text) from None
        return self._descriptor


def _wait(descriptor: int, deadline: float) -> None:
    wait_s = SHORTEST_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DatabaseUnavailable("the database is busy with other processes") from None
        except OSError as error:
            raise DatabaseUnavailable(f"no lock on the database: {error.strerror}") from None
        time.sleep(wait_s)
        wait_s = min(wait_s * GROWTH, LONGEST_WAIT_S)
