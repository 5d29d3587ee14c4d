"""Deliveries as records: one, many, their events, and what waits for whom."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import NotFound
from storage.event_records import EventRecord
from storage.job_rows import delivery_record, event_record
from storage.job_tables import Delivery, DeliveryEvent
from storage.records import DeliveryRecord, DeliveryState


def get_delivery(db: Database, delivery_id: int) -> DeliveryRecord:
    """One delivery.

    Raises:
        NotFound: there is no such delivery.
    """
    with db.read() as session:
        return delivery_record(found_delivery(session, delivery_id))


def list_deliveries(
    db: Database, *, job_id: int | None = None, limit: int = 100
) -> tuple[DeliveryRecord, ...]:
    """The newest deliveries first; `job_id` leaves only those of one job."""
    statement = select(Delivery).order_by(Delivery.id.desc()).limit(limit)
    if job_id is not None:
        statement = statement.where(Delivery.job_id == job_id)
    with db.read() as session:
        return tuple(delivery_record(row) for row in session.scalars(statement))


def pending_destinations(db: Database) -> frozenset[str]:
    """Names of the destinations that deliveries wait for, configured or not."""
    pending = select(Delivery.destination).where(Delivery.state == DeliveryState.PENDING)
    with db.read() as session:
        return frozenset(session.scalars(pending.distinct()))


def delivery_events(db: Database, delivery_id: int) -> tuple[EventRecord, ...]:
    """Every change of state of one delivery, oldest first; the first comes from ''."""
    statement = select(DeliveryEvent).where(DeliveryEvent.delivery_id == delivery_id)
    with db.read() as session:
        rows = session.scalars(statement.order_by(DeliveryEvent.id))
        return tuple(event_record(row) for row in rows)


def found_delivery(session: Session, delivery_id: int) -> Delivery:
    """The row as it is now; NotFound where there is none."""
    delivery = session.get(Delivery, delivery_id, populate_existing=True)
    if delivery is None:
        raise NotFound(f"there is no delivery {delivery_id}")
    return delivery
