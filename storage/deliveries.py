"""The outbox as a sender sees it: claim, then settle, retry or give up.

DICOM first, then FHIR: a report links to objects that should be in the PACS by then. So other
deliveries of a job are created with a later `due_at`, which moves forward to now as soon as the
job's last DICOM delivery is settled, well or badly. A PACS that is down thus delays the EHR by that
much and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, case, exists, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.delivery_reads import found_delivery
from storage.delivery_state import UNSETTLED, change_delivery
from storage.errors import IllegalTransition
from storage.identity import as_told
from storage.job_queue import is_replaced, replaced
from storage.job_rows import delivery_record
from storage.job_tables import Delivery, Job
from storage.jobs import held_by
from storage.records import DeliveryRecord, DeliveryState, DestinationKind, Purpose
from storage.state_change import Actor, Step
from storage.telling import TOLD_STATES
from storage.withdrawal import is_in_turn, is_withdrawable, withdraw_delivery

WORKER_LOST = "worker_lost"
WORKER_LOST_TEXT = "the sender stopped without an end of the delivery"

# Put together once: every destination asks twice a second, and building it takes longest.
_DUE = (
    select(Delivery.id)
    .where(Delivery.destination == bindparam("to"), Delivery.state == DeliveryState.PENDING)
    .where(Delivery.due_at <= bindparam("by"), is_in_turn())
    .order_by(Delivery.due_at, Delivery.id)
    .limit(1)
)
_DUE_TO_ME = _DUE.with_for_update(skip_locked=True)


def claim_next_delivery(
    db: Database, *, destination: str, worker_id: str, lease_s: float, now: datetime
) -> DeliveryRecord | None:
    """Take the delivery to one destination that is due longest, or None."""
    asked = {"to": destination, "by": now}
    with db.read() as session:
        # Mostly nothing is due; receivers need not wait for a writer who finds that out.
        if session.scalar(_DUE, asked) is None:
            return None
    with db.begin() as session:
        delivery_id = session.scalar(_DUE_TO_ME, asked)
        if delivery_id is None:
            return None
        change_delivery(
            session,
            delivery_id,
            DeliveryState.PENDING,
            DeliveryState.SENDING,
            Step(Actor.WORKER, now, worker_id),
            lease_expires_at=now + timedelta(seconds=lease_s),
            attempts=Delivery.attempts + 1,
        )
        return delivery_record(found_delivery(session, delivery_id))


def settle_sent(
    db: Database,
    delivery_id: int,
    *,
    worker_id: str,
    confirmed: bool,
    receipt: Mapping[str, str],
    now: datetime,
    claimed: Mapping[str, str] | None = None,
) -> None:
    """The receiver has it; `confirmed` where it has also proved that it keeps it.

    `claimed` is the receipt that the delivery had when its sending began.

    Raises:
        LeaseLost: the delivery is no longer this worker's.
    """
    to_state = DeliveryState.CONFIRMED if confirmed else DeliveryState.SENT
    step = Step(Actor.WORKER, now, worker_id)
    with db.begin() as session:
        job_id = found_delivery(session, delivery_id).job_id
        session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
        told = as_told(receipt, found_delivery(session, delivery_id).receipt, claimed or {})
        _settle_in(session, job_id, delivery_id, to_state, step, receipt=dict(told))


def settle_retry(
    db: Database,
    delivery_id: int,
    *,
    worker_id: str,
    code: str,
    text: str,
    due_at: datetime,
    now: datetime,
) -> None:
    """It did not work this time: pending again, for `due_at`.

    Raises:
        LeaseLost: the delivery is no longer this worker's.
    """
    step = Step(Actor.WORKER, now, worker_id, code, text)
    with db.begin() as session:
        _return(session, found_delivery(session, delivery_id).job_id, delivery_id, step, due_at)


def settle_dead(
    db: Database, delivery_id: int, *, worker_id: str, code: str, text: str, now: datetime
) -> None:
    """It will not work, or not in time: given up until a person asks for another try.

    Raises:
        LeaseLost: the delivery is no longer this worker's.
    """
    step = Step(Actor.WORKER, now, worker_id, code, text)
    _settle(db, delivery_id, DeliveryState.DEAD, step)


def confirm_delivery(
    db: Database, delivery_id: int, *, worker_id: str, receipt: Mapping[str, str], now: datetime
) -> None:
    """The receiver of a sent delivery has proved later that it keeps it.

    Raises:
        IllegalTransition: the delivery is not sent.
    """
    step = Step(Actor.WORKER, now, worker_id)
    states = DeliveryState.SENT, DeliveryState.CONFIRMED
    with db.begin() as session:
        merged = {**found_delivery(session, delivery_id).receipt, **receipt}
        change_delivery(session, delivery_id, *states, step, receipt=merged)


def return_expired_deliveries(db: Database, *, now: datetime) -> tuple[int, ...]:
    """Take back the deliveries whose lease ran out; they are due at once."""
    return _return_all(db, Delivery.lease_expires_at < now, now)


def return_deliveries_of(db: Database, worker_prefix: str, *, now: datetime) -> tuple[int, ...]:
    """At start-up: take back this node's deliveries of before, held by `<prefix>/...`."""
    return _return_all(db, held_by(Delivery.worker_id, worker_prefix), now)


def retry_delivery(db: Database, delivery_id: int, *, now: datetime) -> None:
    """A person has a dead or waiting delivery tried at once.

    A dead one begins anew. A pending one only becomes due: its state, tries, reason and the time
    after which it is given up stay, so that no event is recorded; a report may overtake its images.

    Raises:
        IllegalTransition: it is neither dead nor pending, or a newer result replaced what it
            would send. NotFound: there is no such delivery.
    """
    step = Step(Actor.PERSON, now)
    columns: dict[str, Any] = {"attempts": 0, "due_at": now, "settled_at": None}
    states = DeliveryState.DEAD, DeliveryState.PENDING
    with db.begin() as session:
        _refuse_replaced(session, delivery_id)
        if not _hurry(session, delivery_id, now):
            change_delivery(session, delivery_id, *states, step, **columns)


def _refuse_replaced(session: Session, delivery_id: int) -> None:
    delivery = found_delivery(session, delivery_id)
    job_id = delivery.job_id
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    if delivery.purpose is Purpose.TELL and is_replaced(session, job_id):
        text = f"delivery {delivery_id} belongs to job {job_id}, which a newer result replaced"
        raise IllegalTransition(text)


def _hurry(session: Session, delivery_id: int, now: datetime) -> bool:
    """Make a pending delivery due; one that is due already keeps its place. False: not pending."""
    due_at = case((Delivery.due_at > now, now), else_=Delivery.due_at)
    pending = update(Delivery).where(
        Delivery.id == delivery_id, Delivery.state == DeliveryState.PENDING
    )
    hurried = session.scalar(pending.values(due_at=due_at).returning(Delivery.id))
    return hurried is not None


def _settle(
    db: Database, delivery_id: int, to_state: DeliveryState, step: Step, **columns: Any
) -> None:
    with db.begin() as session:
        job_id = found_delivery(session, delivery_id).job_id
        _settle_in(session, job_id, delivery_id, to_state, step, **columns)


def _settle_in(
    session: Session,
    job_id: int,
    delivery_id: int,
    to_state: DeliveryState,
    step: Step,
    **columns: Any,
) -> None:
    # Locked, so that of two siblings settled at once the later one sees that it is the last.
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    states = DeliveryState.SENDING, to_state
    change_delivery(session, delivery_id, *states, step, settled_at=step.now, **columns)
    _bring_forward(session, job_id, step.now)
    if to_state is not DeliveryState.DEAD and _is_to_be_withdrawn(session, job_id, delivery_id):
        withdraw_delivery(session, delivery_id, replaced(step.now))


def _bring_forward(session: Session, job_id: int, now: datetime) -> None:
    of_job = Delivery.job_id == job_id
    is_dicom = Delivery.kind == DestinationKind.DICOM
    if session.scalar(select(exists().where(of_job, is_dicom, Delivery.state.in_(UNSETTLED)))):
        return
    waiting = update(Delivery).where(
        of_job,
        ~is_dicom,
        Delivery.state == DeliveryState.PENDING,
        Delivery.attempts == 0,
        Delivery.due_at > now,
    )
    session.execute(waiting.values(due_at=now))


def _return(session: Session, job_id: int, delivery_id: int, step: Step, due_at: datetime) -> None:
    """Pending again; but what was replaced, or is done again, meanwhile is not sent any more."""
    job_state = session.scalar(select(Job.state).where(Job.id == job_id).with_for_update())
    delivery = found_delivery(session, delivery_id)
    is_over = _is_to_be_withdrawn(session, job_id, delivery_id)
    is_untold = delivery.purpose is Purpose.TELL and job_state not in TOLD_STATES
    if (is_over or is_untold) and not (is_over and is_withdrawable(delivery)):
        _settle_in(session, job_id, delivery_id, DeliveryState.DEAD, step)
        return
    states = DeliveryState.SENDING, DeliveryState.PENDING
    change_delivery(session, delivery_id, *states, step, due_at=due_at)
    if is_over:
        withdraw_delivery(session, delivery_id, replaced(step.now))


def _is_to_be_withdrawn(session: Session, job_id: int, delivery_id: int) -> bool:
    is_telling = found_delivery(session, delivery_id).purpose is Purpose.TELL
    return is_telling and is_replaced(session, job_id)


def _return_all(db: Database, condition: Any, now: datetime) -> tuple[int, ...]:
    held = select(Delivery.id).where(Delivery.state == DeliveryState.SENDING, condition)
    with db.read() as session:
        found = session.scalars(held.order_by(Delivery.id)).all()
    # One transaction each: locks on several jobs at once could cross those of routing.
    return tuple(one for one in found if _take_back(db, one, held, now))


def _take_back(db: Database, delivery_id: int, held: Select[int], now: datetime) -> bool:
    step = Step(Actor.SWEEP, now, None, WORKER_LOST, WORKER_LOST_TEXT)
    with db.begin() as session:
        job_id = found_delivery(session, delivery_id).job_id
        session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
        # Asked again under the lock: its sender may have settled it since the list was made.
        if session.scalar(held.where(Delivery.id == delivery_id).with_for_update()) is None:
            return False
        _return(session, job_id, delivery_id, step, now)
        return True
