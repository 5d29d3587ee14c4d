"""A byte on a pipe says that there is work: a worker need not wait for its next look.

The parent writes to the worker's standard input. A byte too few or too many does no harm: the
worker looks into the queue now and then anyhow, and finds it empty or not.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import IO

STANDARD_INPUT = 0
_WAKE = b"\n"


def make_unblocking(pipe: IO[bytes]) -> None:
    """Make writes to a pipe give up where nobody reads, instead of waiting."""
    os.set_blocking(pipe.fileno(), False)


def send_wake(pipe: IO[bytes]) -> None:
    """Write the byte; a full pipe has bytes enough, and a broken one has no reader."""
    with suppress(OSError, ValueError):
        os.write(pipe.fileno(), _WAKE)


def set_when_woken(descriptor: int, woken: threading.Event) -> None:
    """Set `woken` for each byte that comes, in a thread of its own, until the pipe closes."""
    threading.Thread(
        target=_listen, args=(descriptor, woken), name="wake-pipe", daemon=True
    ).start()


def _listen(descriptor: int, woken: threading.Event) -> None:
    with suppress(OSError):
        while os.read(descriptor, 4096):
            woken.set()
