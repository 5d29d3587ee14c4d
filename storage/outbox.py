"""How the results of a job enter the outbox: one row for each destination."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.delivery_state import change_delivery, record_new_delivery
from storage.job_queue import CURRENT_AGAIN, CURRENT_AGAIN_TEXT
from storage.job_tables import Delivery
from storage.records import DeliveryState, NewDelivery, Purpose
from storage.state_change import Actor, Step
from storage.withdrawal import receipt_to_tell_again


def fill_outbox(
    session: Session, job_id: int, deliveries: tuple[NewDelivery, ...], step: Step
) -> None:
    """Have a finished job delivered, also to who was told before: others came in between.

    A sender that still has the older delivery in hand loses it; what it sent may come twice.
    """
    known = select(Delivery).where(Delivery.job_id == job_id).with_for_update()
    rows = {row.destination: row for row in session.scalars(known)}
    for new in deliveries:
        if new.destination in rows:
            _renew(session, rows[new.destination], new, step)
        else:
            _add(session, job_id, new, step)


def drop_unsent(session: Session, job_id: int, step: Step) -> None:
    """Withdraw what is not sent yet of a job that is done again: its new end will be told."""
    pending = select(Delivery.id).where(
        Delivery.job_id == job_id,
        Delivery.state == DeliveryState.PENDING,
        Delivery.purpose == Purpose.TELL,
    )
    states = DeliveryState.PENDING, DeliveryState.DEAD
    for delivery_id in session.scalars(pending.with_for_update()).all():
        change_delivery(session, delivery_id, *states, step, settled_at=step.now)


def _renew(session: Session, row: Delivery, new: NewDelivery, step: Step) -> None:
    if row.state is DeliveryState.PENDING and row.purpose is Purpose.TELL:
        return
    columns: dict[str, Any] = {"kind": new.kind, "due_at": new.due_at, "created_at": step.now}
    columns |= {"attempts": 0, "settled_at": None, "purpose": Purpose.TELL}
    columns |= {"receipt": receipt_to_tell_again(row), "is_rejectable": new.is_rejectable}
    anew = Step(Actor.ROUTING, step.now, None, CURRENT_AGAIN, CURRENT_AGAIN_TEXT)
    change_delivery(session, row.id, row.state, DeliveryState.PENDING, anew, **columns)


def _add(session: Session, job_id: int, new: NewDelivery, step: Step) -> None:
    delivery = Delivery(
        job_id=job_id,
        destination=new.destination,
        kind=new.kind,
        state=DeliveryState.PENDING,
        attempts=0,
        due_at=new.due_at,
        created_at=step.now,
        reason_code="",
        reason_text="",
        receipt={},
        is_rejectable=new.is_rejectable,
    )
    session.add(delivery)
    session.flush()
    record_new_delivery(session, delivery.id, step)
