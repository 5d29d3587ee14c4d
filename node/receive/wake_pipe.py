"""How a receiver process tells its parent that something has changed: one byte down a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_READY, _CHANGE, _QUIT = b"r", b"c", b"q"
_READ_AT_ONCE = 4096


class WakeWriter:
    """The receiver's end. A pipe that is full has been written to often enough."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def ready(self) -> None:
        """Say that this process accepts associations from now on."""
        self._write(_READY)

    def change(self) -> None:
        """Say that completeness is worth a look."""
        self._write(_CHANGE)

    def _write(self, what: bytes) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, what)


class WakeReader:
    """The parent's end, with a thread of its own that calls `on_change`."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._reader, self.writer = os.pipe()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._read, name="receive-wake", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until a receiver accepts associations; False where none did in time."""
        return self._is_ready.wait(timeout_s)

    def close(self) -> None:
        """End the thread and close the pipe."""
        os.write(self.writer, _QUIT)
        self._thread.join()
        os.close(self.writer)
        os.close(self._reader)

    def _read(self) -> None:
        while True:
            told = os.read(self._reader, _READ_AT_ONCE)
            if _READY in told:
                self._is_ready.set()
            if _QUIT in told:
                return
            if _CHANGE in told:
                self._on_change()
