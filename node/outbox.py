"""All delivery loops of a node: a thread for each destination, so that none waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from node.delivery import DeliveryLoop
from storage.database import Database
from storage.deliveries import return_deliveries_of
from storage.errors import StorageError

log = structlog.get_logger()


class Outbox:
    """Runs the loops; `worker_id` is the one under which they claim."""

    def __init__(self, loops: Sequence[DeliveryLoop], db: Database, *, worker_id: str) -> None:
        self._db = db
        self._worker_id = worker_id
        self._stop = threading.Event()
        # Daemons: a destination that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=loop.run, args=(self._stop,), name="delivery", daemon=True)
            for loop in loops
        ]

    def start(self) -> None:
        """Begin to deliver."""
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Begin no delivery any more; returns at once."""
        self._stop.set()

    def stop(self, grace_s: float) -> None:
        """Wait for the deliveries in hand; what is not done in `grace_s` goes back to pending."""
        self.ask_to_stop()
        until = time.monotonic() + grace_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self._give_back()

    def _give_back(self) -> None:
        try:
            returned = return_deliveries_of(self._db, self._worker_id, now=datetime.now(UTC))
            log.warning("deliveries_interrupted", delivery_ids=list(returned))
        except StorageError as error:
            # They stay `sending`; the next start returns them.
            log.warning("deliveries_not_returned", error=type(error).__name__)
