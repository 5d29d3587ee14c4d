from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from config.settings import FolderDestination
from fhir.progress import Progress
from node.delivery import DeliveryLoop
from node.dispatch import Sender
from node.outbox import Outbox
from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.records import DeliveryState, FinishedJob
from tests.peers.ports import wait_until
from tests.unit.storage.samples import make_deliveries

WORKER_ID = "radnode/1"


def _outbox(db: Database, **senders: Sender) -> Outbox:
    loops = [
        DeliveryLoop(FolderDestination(type="folder", name=name), sender, db, worker_id=WORKER_ID)
        for name, sender in senders.items()
    ]
    return Outbox(loops, db, worker_id=WORKER_ID)


def _states(db: Database) -> dict[str, DeliveryState]:
    return {one.destination: one.state for one in list_deliveries(db)}


def test_a_destination_that_hangs_does_not_hold_up_another(db: Database) -> None:
    released = threading.Event()

    def hang(finished: FinishedJob, progress: Progress) -> Mapping[str, str]:
        released.wait(60)
        return {}

    make_deliveries(db, "hanging", "ehr", now=datetime.now(UTC))
    outbox = _outbox(
        db, hanging=Sender(hang, True), ehr=Sender(lambda finished, progress: {}, True)
    )

    outbox.start()
    wait_until(lambda: _states(db)["ehr"] is DeliveryState.CONFIRMED, what="the other")

    assert _states(db)["hanging"] is DeliveryState.SENDING
    released.set()
    outbox.stop(grace_s=20)


def test_a_delivery_that_outlasts_the_grace_goes_back_to_pending(db: Database) -> None:
    released, entered = threading.Event(), threading.Event()

    def hang(finished: FinishedJob, progress: Progress) -> Mapping[str, str]:
        entered.set()
        released.wait(60)
        return {}

    make_deliveries(db, "hanging", now=datetime.now(UTC))
    outbox = _outbox(db, hanging=Sender(hang, True))
    outbox.start()
    entered.wait(20)

    outbox.stop(grace_s=0.1)

    assert _states(db) == {"hanging": DeliveryState.PENDING}
    released.set()


def test_stopping_what_was_never_started_does_nothing(db: Database) -> None:
    _outbox(db, ehr=Sender(lambda finished, progress: {}, True)).stop(grace_s=1)
