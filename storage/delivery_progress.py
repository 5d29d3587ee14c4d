"""What a delivery in several steps has reached: kept before its next step is taken."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import update

from storage.database import Database
from storage.errors import LeaseLost
from storage.job_tables import Delivery
from storage.records import DeliveryState


def note_progress(
    db: Database, delivery_id: int, *, worker_id: str, receipt: Mapping[str, str]
) -> None:
    """Keep what the receiver has taken so far; the delivery stays `sending`.

    Raises:
        LeaseLost: the delivery is no longer this worker's.
    """
    own = update(Delivery).where(
        Delivery.id == delivery_id,
        Delivery.state == DeliveryState.SENDING,
        Delivery.worker_id == worker_id,
    )
    with db.begin() as session:
        kept = session.scalar(own.values(receipt=dict(receipt)).returning(Delivery.id))
        if kept is None:
            raise LeaseLost(f"delivery {delivery_id} is no longer held by this worker")
