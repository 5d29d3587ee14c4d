"""A byte on a pipe says that there is something to look at: nobody need wait for the next look.

The parent writes to its worker's standard input when a job is queued; receivers write to their
parent when something has changed. A byte too few or too many does no harm, since everybody looks
now and then anyhow, and finds something or not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

STANDARD_INPUT = 0
_WAKE, _READY, _QUIT = b"w", b"r", b"q"
_READ_AT_ONCE = 4096


class WakeWriter:
    """The end that tells. It never waits: a full pipe has bytes enough, a broken one no reader."""

    def __init__(self, descriptor: int) -> None:
        with suppress(OSError):
            os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def wake(self) -> None:
        """Say that a look is worth it."""
        self._write(_WAKE)

    def ready(self) -> None:
        """Say that this process does its work from now on."""
        self._write(_READY)

    def _write(self, what: bytes) -> None:
        with suppress(OSError):
            os.write(self._descriptor, what)


class WakeReader:
    """The end that is told: `on_wake` is called in a thread of its own until the pipe ends."""

    def __init__(self, descriptor: int, on_wake: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._on_wake = on_wake
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._read, name="wake-pipe", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until a writer has said that it is ready; False where none did in time."""
        return self._is_ready.wait(timeout_s)

    def join(self) -> None:
        """Wait until the pipe has ended, or was told to."""
        self._thread.join()

    def _read(self) -> None:
        with suppress(OSError):
            while told := os.read(self._descriptor, _READ_AT_ONCE):
                if _READY in told:
                    self._is_ready.set()
                if _QUIT in told:
                    return
                if _WAKE in told:
                    self._on_wake()


class WakePipe:
    """Both ends in one process; `writer` is the descriptor that its children are born with."""

    def __init__(self, on_wake: Callable[[], None]) -> None:
        self._descriptor, self.writer = os.pipe()
        self._reader = WakeReader(self._descriptor, on_wake)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait as `WakeReader.wait_ready` does."""
        return self._reader.wait_ready(timeout_s)

    def close(self) -> None:
        """End the thread and close the pipe."""
        os.write(self.writer, _QUIT)
        self._reader.join()
        os.close(self.writer)
        os.close(self._descriptor)
