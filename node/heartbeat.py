"""Renews the lease on a job while the model runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import structlog

from storage.errors import LeaseLost, StorageError

log = structlog.get_logger()


class Heartbeat:
    """Calls `beat` every `every_s` inside a with block, from a thread of its own.

    `is_lost` turns true when `beat` says that the lease has gone to another worker; then the
    result of the block must be abandoned. A database that is away for a while is no loss: the
    lease outlives several beats.
    """

    def __init__(self, beat: Callable[[], None], *, every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another worker may have the lease now."""
        return self._lost.is_set()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._beat()
            except LeaseLost:
                log.warning("lease_lost")
                self._lost.set()
                return
            except StorageError as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
