"""Finds studies complete and routes them: when something has happened, and now and then.

A thread of its own, because a scheduled act that is asked for while it runs is not run again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import structlog

from storage.errors import StorageError

# Between two looks while events pour in: four times as long as a look took, within bounds.
_SHORTEST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.1
_PAUSE_FACTOR = 4
_STORAGE_WAIT_S = 1.0

log = structlog.get_logger()


class Assembly:
    """Runs `look` after each `wake`, and every `interval_s` in any case.

    `look` may return in how many seconds it wants to be run again, should that be sooner.
    """

    def __init__(self, look: Callable[[], float | None], *, interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._waits_for = ""
        self._thread = threading.Thread(target=self._run, name="assembly", daemon=True)

    def start(self) -> None:
        """Begin with a look."""
        self._thread.start()

    def wake(self) -> None:
        """Look again as soon as possible; may be called from any thread, at any time."""
        self._woken.set()

    def stop(self) -> None:
        """Let the look in hand come to its end and begin no other."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Before the look: what happens during it is seen by the next one.
            self._woken.clear()
            begin = time.monotonic()
            pause_s, wanted_s = self._guarded_look()
            took_s = time.monotonic() - begin
            self._stopping.wait(max(pause_s, min(took_s * _PAUSE_FACTOR, _LONGEST_PAUSE_S)))
            left_s = begin + min(self._interval_s, wanted_s) - time.monotonic()
            self._woken.wait(max(0.0, left_s))

    def _guarded_look(self) -> tuple[float, float]:
        """Look, and return how long to pause at least, and when another look is wanted."""
        try:
            wanted_s = self._look()
        except StorageError as error:
            # Once for each reason: one study that waits must not hide another, or the database.
            if self._waits_for != str(error):
                log.warning("act_postponed", act="assembly", reason=str(error))
            self._waits_for = str(error)
            return _STORAGE_WAIT_S, math.inf
        except Exception:  # the thread's outermost edge; the next look tries again
            log.error("act_failed", act="assembly", exc_info=True)
            return _STORAGE_WAIT_S, math.inf
        if self._waits_for:
            log.info("act_resumed", act="assembly")
        self._waits_for = ""
        return _SHORTEST_PAUSE_S, math.inf if wanted_s is None else wanted_s
