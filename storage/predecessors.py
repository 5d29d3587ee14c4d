"""Which reports of a PACS a new one replaces: those sent there that newer work has replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.job_queue import is_replaced
from storage.job_tables import Delivery, Job, ResultObjectRow
from storage.records import DeliveryRecord, DestinationKind, ObjectKind, Purpose
from storage.sent_objects import FORMER_KEY, SentObject, arrived_objects, read_objects, told

PREDECESSORS_KEY: Final = "predecessors"


def named_predecessors(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    """Read the reports that the report of a delivery names as its predecessors."""
    return read_objects(receipt, PREDECESSORS_KEY)


def with_predecessors(db: Database, delivery: DeliveryRecord) -> Mapping[str, str]:
    """Give the receipt of a delivery to a PACS with the reports that its own one follows on.

    They are the replaced reports on the study that the same destination has, of the same pipeline
    or of none (a study that no pipeline took), and that no later report there has named already;
    and what the job itself told there before, as that it had failed.
    What stands in the receipt already stays: each try sends the same.
    """
    if PREDECESSORS_KEY in delivery.receipt:
        return delivery.receipt
    with db.read() as session:
        older = _replaced_reports(session, delivery)
    return {**delivery.receipt, PREDECESSORS_KEY: told(older)} if older else delivery.receipt


def _replaced_reports(session: Session, delivery: DeliveryRecord) -> tuple[SentObject, ...]:
    rows = session.scalars(_others(session, delivery)).all()
    named = {item.sop_instance_uid for row in rows for item in named_predecessors(row.receipt)}
    replaced = [row for row in rows if row.purpose is Purpose.TELL]
    found = [
        item
        for row in replaced
        if is_replaced(session, row.job_id)
        for item in arrived_objects(row.receipt)
        if item.kind is ObjectKind.SR
    ]
    made = select(ResultObjectRow.sop_instance_uid).where(ResultObjectRow.job_id == delivery.job_id)
    own = set(session.scalars(made))
    former = read_objects(delivery.receipt, FORMER_KEY)
    found += [item for item in former if item.sop_instance_uid not in own]
    return tuple(item for item in found if item.sop_instance_uid not in named)


def _others(session: Session, delivery: DeliveryRecord) -> Select[Delivery]:
    job = session.get_one(Job, delivery.job_id)
    statement = (
        select(Delivery)
        .join(Job, Job.id == Delivery.job_id)
        .where(Job.study_instance_uid == job.study_instance_uid, Job.id != job.id)
        .where(Delivery.destination == delivery.destination)
        .where(Delivery.kind == DestinationKind.DICOM)
        .order_by(Delivery.id)
    )
    if job.pipeline_name:
        statement = statement.where(Job.pipeline_name.in_((job.pipeline_name, "")))
    return statement
