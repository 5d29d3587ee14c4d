"""SIGTERM and SIGINT as something a main thread can wait for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType


class StopSignals:
    """The stop signals that arrived.

    A `SimpleQueue`, since its `put` may interrupt its own `get` in the same thread; a
    `threading.Event` set in a handler can deadlock with the `wait` that it interrupts.
    """

    def __init__(self) -> None:
        self._arrived: SimpleQueue[int | None] = SimpleQueue()

    def note(self, signum: int, frame: FrameType | None = None) -> None:
        """Remember one signal; fit to be a signal handler."""
        self._arrived.put(signum)

    def wake(self) -> None:
        """End a `wait` without a signal."""
        self._arrived.put(None)

    def wait(self) -> str | None:
        """Return the name of the next signal, or None when woken without one."""
        signum = self._arrived.get()
        return None if signum is None else signal.Signals(signum).name


@contextmanager
def stop_signals(*, ignore_interrupt: bool = False) -> Iterator[StopSignals]:
    """Catch SIGTERM and SIGINT inside the block; only in a main thread.

    With `ignore_interrupt`, SIGINT is ignored: a terminal's Ctrl-C reaches a child as well, and
    there its parent decides.
    """
    arrived = StopSignals()
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, arrived.note),
        signal.SIGINT: signal.signal(
            signal.SIGINT, signal.SIG_IGN if ignore_interrupt else arrived.note
        ),
    }
    try:
        yield arrived
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
