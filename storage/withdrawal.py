"""What newer work replaced is taken back: dropped where it was not sent, else withdrawn there.

The delivery that told a result is the one that withdraws it: it goes back to `pending` with the
purpose `withdraw`, and its receipt still says what the receiver has.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session, aliased

from storage.delivery_state import UNSETTLED, change_delivery
from storage.job_tables import Delivery, Job
from storage.records import DeliveryState, DestinationKind, ObjectKind, Purpose
from storage.sent_objects import (
    FORMER_KEY,
    REJECTED_KEY,
    all_rejected,
    arrived_objects,
    rejected_objects,
    told,
)
from storage.state_change import Step

WITHDRAWABLE: Final = (DestinationKind.FHIR, DestinationKind.FOLDER, DestinationKind.HL7)
"""Where a report can be taken back always; a PACS takes a rejection note where it is set so."""


def withdraw_deliveries(
    session: Session, job_id: int, step: Step, spared: Collection[str] = ()
) -> None:
    """Take back all that a replaced job told; what is being sent follows when it is settled.

    Destinations that are `spared` get nothing more, and are told nothing.
    """
    told = select(Delivery).where(
        Delivery.job_id == job_id,
        Delivery.purpose == Purpose.TELL,
        Delivery.state != DeliveryState.SENDING,
    )
    for row in session.scalars(told.order_by(Delivery.id).with_for_update()).all():
        if row.destination not in spared:
            withdraw_delivery(session, row.id, step)
        elif row.state is DeliveryState.PENDING:
            _drop(session, row, step)


def withdraw_delivery(session: Session, delivery_id: int, step: Step) -> None:
    """Take back one delivery that is in nobody's hand: `step` is routing's."""
    row = session.get_one(Delivery, delivery_id, populate_existing=True)
    if is_withdrawable(row) and may_have_arrived(row):
        columns = _anew(Purpose.WITHDRAW, step)
        change_delivery(session, row.id, row.state, DeliveryState.PENDING, step, **columns)
    elif row.state is DeliveryState.PENDING:
        _drop(session, row, step)


def _drop(session: Session, row: Delivery, step: Step) -> None:
    states = DeliveryState.PENDING, DeliveryState.DEAD
    change_delivery(session, row.id, *states, step, settled_at=step.now)


def is_withdrawable(row: Delivery) -> bool:
    """Whether what a delivery told can be taken back where it went."""
    return row.kind in WITHDRAWABLE or row.is_rejectable


def receipt_to_tell_again(row: Delivery) -> dict[str, str]:
    """What a delivery that is to tell its result anew still knows of its receiver.

    What a rejection note took back, or may have, must not come again under the same UIDs; a report
    that the same job told before, of its failure say, may be followed on.
    """
    if row.kind is not DestinationKind.DICOM:
        return {}
    was_rejected = row.purpose is Purpose.WITHDRAW and row.attempts > 0
    gone = all_rejected(row.receipt) if was_rejected else rejected_objects(row.receipt)
    former = (item for item in arrived_objects(row.receipt) if row.purpose is Purpose.TELL)
    reports = tuple(item for item in former if item.kind is ObjectKind.SR)
    kept = {REJECTED_KEY: gone, FORMER_KEY: reports}
    return {key: told(objects) for key, objects in kept.items() if objects}


def tell_again(session: Session, job_id: int, step: Step) -> None:
    """Have what was withdrawn of a job told anew: it is current again as it stands."""
    withdrawn = select(Delivery).where(
        Delivery.job_id == job_id, Delivery.purpose == Purpose.WITHDRAW
    )
    for row in session.scalars(withdrawn.with_for_update()).all():
        columns = _anew(Purpose.TELL, step) | {"receipt": receipt_to_tell_again(row)}
        change_delivery(session, row.id, row.state, DeliveryState.PENDING, step, **columns)


def is_in_turn() -> ColumnElement[bool]:
    """Whether a delivery may be claimed: an ORU waits until the older one is withdrawn.

    Both carry the same filler order number: a withdrawal that came later would take back the newer
    result, too. In FHIR each result has resources of its own.
    """
    older, its_job, own_job = aliased(Delivery), aliased(Job), aliased(Job)
    waits = exists().where(
        older.destination == Delivery.destination,
        older.purpose == Purpose.WITHDRAW,
        older.state.in_(UNSETTLED),
        its_job.id == older.job_id,
        own_job.id == Delivery.job_id,
        its_job.study_instance_uid == own_job.study_instance_uid,
    )
    is_free = Delivery.kind != DestinationKind.HL7, Delivery.purpose == Purpose.WITHDRAW
    return or_(*is_free, ~waits)


def may_have_arrived(row: Delivery) -> bool:
    """An EHR whose answer was lost may have it; it is asked before anything is withdrawn."""
    is_taken = row.state in (DeliveryState.SENT, DeliveryState.CONFIRMED)
    if is_taken or (row.receipt and row.kind is not DestinationKind.DICOM):
        return True
    if row.kind is DestinationKind.DICOM:
        return bool(arrived_objects(row.receipt))
    was_tried = row.state is DeliveryState.PENDING and row.attempts > 0
    return was_tried and row.kind is DestinationKind.FHIR


def _anew(purpose: Purpose, step: Step) -> dict[str, Any]:
    times = {"due_at": step.now, "created_at": step.now, "settled_at": None}
    return {"purpose": purpose, "attempts": 0, **times}
