"""A thread that does one thing again and again, whatever goes wrong, until it is asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from storage.errors import StorageError

_STORAGE_WAIT_S = 5.0

_log = structlog.get_logger()


class RepeatedRound:
    """Calls `act` in a thread; the next round follows at once while it returns True."""

    def __init__(self, name: str, act: Callable[[], bool], *, every_s: float) -> None:
        self._name = name
        self._act = act
        self._every_s = every_s
        self._stop = threading.Event()
        # A daemon: a peer that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begin no further round; returns at once."""
        self._stop.set()

    def stop(self, grace_s: float) -> None:
        """Wait for the round in hand, `grace_s` at the most: nothing is lost by leaving it."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(max(0.0, grace_s))

    def _run(self) -> None:
        while not self._stop.is_set():
            wait_s = self._every_s
            try:
                if self._act():
                    continue
            except StorageError as error:
                _log.warning("round_postponed", round=self._name, reason=str(error))
                wait_s = _STORAGE_WAIT_S
            except Exception:  # noqa: BLE001 -- the thread's outermost edge; the next round follows
                _log.error("round_failed", round=self._name, exc_info=True)
                wait_s = _STORAGE_WAIT_S
            self._stop.wait(wait_s)
