"""A file without a name that all receiver processes of a node share: locks, and a few numbers.

The locks are of the kernel (fcntl(2), F_SETLK), one byte each: what a process held is free again
the moment it dies, and nobody has to count after it. A number is written by one call, so that a
process that is killed leaves the older or the newer one, and nothing between them.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NUMBER = struct.Struct("d")
_PATIENCE_S = 0.01
_LOOK_EVERY_S = 0.0005


def new_shared_file() -> int:
    """Return the descriptor of a new, empty file; in memory where the system has that."""
    if sys.platform == "linux":
        return os.memfd_create("radnode-receivers")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


class SharedFile:
    """The file as one process sees it; safe to use from many threads.

    Without a `descriptor` this process is alone. The descriptor is to be closed by `close` only,
    and no other one of this file in this process: that would free all of its locks.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = new_shared_file() if descriptor is None else descriptor
        self._guard = threading.Lock()
        self._is_closed = False

    def try_lock(self, byte: int) -> bool:
        """Lock a byte against other processes; False where one of them has it."""
        with self._guard:
            if self._is_closed:
                return False
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):  # POSIX leaves the choice
                return False
            return True

    def unlock(self, byte: int) -> None:
        """Free a byte."""
        with self._guard:
            if not self._is_closed:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    @contextmanager
    def locked(self, byte: int, patience_s: float = _PATIENCE_S) -> Iterator[None]:
        """Hold a byte's lock, or go on without it: a process that was halted has it.

        What is guarded so must bear that. Threads of one process do not keep each other out.
        """
        until_s = time.monotonic() + patience_s
        while not (has_it := self.try_lock(byte)) and time.monotonic() < until_s:
            time.sleep(_LOOK_EVERY_S)
        try:
            yield
        finally:
            if has_it:
                self.unlock(byte)

    def read(self, at: int, length: int) -> bytes:
        """Return `length` bytes; zeros where nothing was written yet."""
        with self._guard:
            found = b"" if self._is_closed else os.pread(self._descriptor, length, at)
        return found.ljust(length, b"\0")

    def write(self, at: int, content: bytes) -> None:
        """Write a few bytes by one call."""
        with self._guard:
            if not self._is_closed:
                os.pwrite(self._descriptor, content, at)

    def close(self) -> None:
        """Free all locks, for good."""
        with self._guard:
            self._is_closed = True
            os.close(self._descriptor)


class SharedNumber:
    """A number at `at` of a shared file, 0 at first; `lock_byte` is of it alone."""

    def __init__(self, file: SharedFile, at: int, lock_byte: int) -> None:
        self._file = file
        self._at = at
        self._lock_byte = lock_byte
        self._threads = threading.Lock()

    def change(self, changed: Callable[[float], float]) -> float:
        """Put what `changed` makes of the number in its place, and return that."""
        with self._threads, self._file.locked(self._lock_byte):
            (old,) = _NUMBER.unpack(self._file.read(self._at, _NUMBER.size))
            new = changed(old)
            self._file.write(self._at, _NUMBER.pack(new))
        return new
