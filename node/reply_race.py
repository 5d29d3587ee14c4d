"""Closes a race of pynetdicom (seen with 3.0.4) in which a requestor loses the answer it waits for.

`Association.send_c_store` and the others pause the association's own thread, the reactor, before
they send, because both take messages from one queue. The reactor says `_is_paused` before it
looks whether it may go on. Looked at just then, it is taken to be paused although it runs on for
one more round, in which it can take the answer away: the sender then waits until `dimse_timeout`
and aborts. It needs a busy machine, and happens on one.
"""

from __future__ import annotations

import threading
from typing import Any

_LOOK_AGAIN_S = 0.05


class ReactorCheckpoint(threading.Event):
    """An event whose `clear` returns only when the reactor really stands still in `wait`."""

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor = reactor
        self._changed = threading.Condition()
        self._is_open = True
        self._is_waiting = False

    def is_set(self) -> bool:
        """Whether the reactor may run."""
        return self._is_open

    def set(self) -> None:
        """Let the reactor run."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the reactor; returns when it stands, or has ended."""
        with self._changed:
            self._is_open = False
            if threading.current_thread() is self._reactor:
                return
            while not self._is_waiting and self._reactor.is_alive():
                self._changed.wait(_LOOK_AGAIN_S)

    def wait(self, timeout: float | None = None) -> bool:
        """Stand still until `set`; called by the reactor in every round."""
        with self._changed:
            self._is_waiting = True
            self._changed.notify_all()
            passed = self._changed.wait_for(lambda: self._is_open, timeout)
            self._is_waiting = False
        return passed


def close_reply_race(event: Any) -> None:
    """Give a requestor's association a sound checkpoint (handler of `evt.EVT_CONN_OPEN`)."""
    event.assoc._reactor_checkpoint = ReactorCheckpoint(event.assoc)
