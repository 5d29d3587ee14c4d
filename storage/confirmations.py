"""Does a PACS keep what a delivery brought it? Who is asked, how, and what came of it.

A delivery that was sent by C-STORE stays `sent` until its PACS confirms it. What is asked, and
under which Transaction UID, is a row, so that a report that comes after a restart finds its
delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.deliveries import confirm_delivery
from storage.delivery_state import change_delivery
from storage.errors import IllegalTransition, NotFound
from storage.evidence_records import ConfirmationRecord, ConfirmationState
from storage.evidence_tables import Confirmation
from storage.job_tables import Delivery, Job
from storage.records import DeliveryState, DestinationKind, JobState, Purpose
from storage.state_change import Actor, Step
from storage.upsert import insert_new

# Put together once: both are asked twice a second, and building them takes longest.
_UNASKED = (
    select(Delivery.id, Delivery.settled_at)
    .where(
        Delivery.destination == bindparam("to"),
        Delivery.kind == DestinationKind.DICOM,
        Delivery.state == DeliveryState.SENT,
        Delivery.settled_at >= bindparam("sent_after"),
        ~exists().where(
            Confirmation.delivery_id == Delivery.id, Confirmation.began_at >= Delivery.settled_at
        ),
    )
    .order_by(Delivery.id)
)
_DUE = (
    select(Confirmation, Delivery.job_id)
    .join(Delivery, Delivery.id == Confirmation.delivery_id)
    .where(
        Delivery.destination == bindparam("to"),
        Delivery.state == DeliveryState.SENT,
        Confirmation.state != ConfirmationState.GIVEN_UP,
        Confirmation.due_at <= bindparam("by"),
    )
    .order_by(Confirmation.due_at, Confirmation.delivery_id)
    .limit(bindparam("most"))
)
_AWAITED = (
    select(Confirmation.delivery_id)
    .where(
        Confirmation.transaction_uid.in_(bindparam("asked", expanding=True)),
        Confirmation.state == ConfirmationState.AWAITED,
    )
    .limit(1)
)


def begin_confirmations(
    db: Database, destination: str, *, sent_after: datetime, now: datetime
) -> int:
    """Take up the deliveries to a PACS that are sent and that nobody has asked about since."""
    with db.read() as session:
        found = session.execute(_UNASKED, {"to": destination, "sent_after": sent_after}).all()
    for delivery_id, sent_at in found:
        with db.begin() as session:
            _forget(session, delivery_id)
            # Not before it was sent, by a clock that was set back: it would begin again for ever.
            new = _new(delivery_id, now) | {"began_at": max(now, sent_at or now)}
            insert_new(session, Confirmation, new)
    return len(found)


def due_confirmations(
    db: Database, destination: str, *, now: datetime, limit: int
) -> tuple[ConfirmationRecord, ...]:
    """The deliveries to a destination that are due to be asked about, longest due first."""
    with db.read() as session:
        rows = session.execute(_DUE, {"to": destination, "by": now, "most": limit}).all()
        return tuple(_record(*row) for row in rows)


def await_report(db: Database, delivery_id: int, *, transaction_uid: str, due_at: datetime) -> None:
    """A commitment is about to be asked for; its report is awaited until `due_at`."""
    columns = {
        "transaction_uid": transaction_uid,
        "state": ConfirmationState.AWAITED,
        "due_at": due_at,
        "reason_code": "",
        "reason_text": "",
    }
    _set(db, delivery_id, columns)


def are_awaited(db: Database, transaction_uids: Sequence[str]) -> bool:
    """Whether the report on any of these commitments is awaited still.

    A report that came, by whatever process, has changed the row or taken it away.
    """
    with db.read() as session:
        return session.scalar(_AWAITED, {"asked": list(transaction_uids)}) is not None


def postpone_confirmation(
    db: Database,
    delivery_id: int,
    *,
    state: ConfirmationState,
    due_at: datetime,
    code: str,
    text: str,
) -> None:
    """No answer that decides: go on in `state` at `due_at`. The reason is shown."""
    columns = {"state": state, "due_at": due_at, "attempts": Confirmation.attempts + 1}
    _set(db, delivery_id, columns | {"reason_code": code, "reason_text": text})


def give_up_confirmation(db: Database, delivery_id: int, *, code: str, text: str) -> None:
    """Nobody will say: the delivery stays `sent`, and the reason is shown."""
    columns = {"state": ConfirmationState.GIVEN_UP, "reason_code": code, "reason_text": text}
    _set(db, delivery_id, columns)


def delivery_of_transaction(db: Database, transaction_uid: str) -> ConfirmationRecord | None:
    """The delivery that a commitment was asked for under this UID, or None."""
    statement = (
        select(Confirmation, Delivery.job_id)
        .join(Delivery, Delivery.id == Confirmation.delivery_id)
        .where(Confirmation.transaction_uid == transaction_uid)
    )
    with db.read() as session:
        row = session.execute(statement).one_or_none()
        return None if row is None else _record(*row)


def confirm(
    db: Database, delivery_id: int, *, worker_id: str, receipt: Mapping[str, str], now: datetime
) -> bool:
    """The PACS keeps all of it: the delivery is confirmed; False where it is not `sent`."""
    try:
        confirm_delivery(db, delivery_id, worker_id=worker_id, receipt=receipt, now=now)
    except (IllegalTransition, NotFound):
        return False
    with db.begin() as session:
        _forget(session, delivery_id)
    return True


def send_again(
    db: Database,
    delivery_id: int,
    *,
    worker_id: str,
    code: str,
    text: str,
    due_at: datetime,
    now: datetime,
) -> bool:
    """The PACS does not keep it: pending again; False where it is not `sent`, or is replaced."""
    step = Step(Actor.WORKER, now, worker_id, code, text)
    states = DeliveryState.SENT, DeliveryState.PENDING
    with db.begin() as session:
        _forget(session, delivery_id)
        if _is_replaced(session, delivery_id):
            return False
        try:
            change_delivery(session, delivery_id, *states, step, due_at=due_at, settled_at=None)
        except (IllegalTransition, NotFound):
            return False
        return True


def _is_replaced(session: Session, delivery_id: int) -> bool:
    statement = select(Job.state).join(Delivery, Delivery.job_id == Job.id)
    told = statement.where(Delivery.id == delivery_id, Delivery.purpose == Purpose.TELL)
    state = session.scalar(told)
    return state is JobState.SUPERSEDED


def _forget(session: Session, delivery_id: int) -> None:
    session.execute(delete(Confirmation).where(Confirmation.delivery_id == delivery_id))


def _new(delivery_id: int, now: datetime) -> dict[str, Any]:
    return {
        "delivery_id": delivery_id,
        # Unique, and none that a PACS could name, until a commitment is asked for.
        "transaction_uid": f"none {delivery_id}",
        "state": ConfirmationState.ASKING,
        "attempts": 0,
        "began_at": now,
        "due_at": now,
        "reason_code": "",
        "reason_text": "",
    }


def _record(row: Confirmation, job_id: int) -> ConfirmationRecord:
    return ConfirmationRecord(
        delivery_id=row.delivery_id,
        job_id=job_id,
        transaction_uid=row.transaction_uid,
        state=row.state,
        attempts=row.attempts,
        began_at=row.began_at,
    )


def _set(db: Database, delivery_id: int, columns: Mapping[str, Any]) -> None:
    statement = update(Confirmation).where(Confirmation.delivery_id == delivery_id)
    with db.begin() as session:
        session.execute(statement.values(**columns))
