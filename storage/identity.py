"""Under which identity the PACS lists a study, where that is not the one that it was sent under.

Kept with the study, so that each delivery tells the same, also while the PACS does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_tables import Study
from storage.job_tables import Delivery, Job
from storage.records import DeliveryState, DestinationKind, JobState, Purpose
from storage.table_types import storable_map
from storage.withdrawal import may_have_arrived

Attributes: TypeAlias = Sequence[tuple[str, str]]
"""Keyword and value of attributes of patient and study."""

IDENTITY_KEY = "identity"

DECIDING: Final = ("PatientID", "IssuerOfPatientID", "AccessionNumber")
"""Keywords of what makes it another patient or another order."""


@dataclass(frozen=True, slots=True)
class ToldReport:
    """A report that somebody has by now, and under which changed attributes it went."""

    delivery_id: int
    destination: str
    job_id: int
    study_instance_uid: str
    told_at: datetime
    identity: Mapping[str, str]


def with_identity(receipt: Mapping[str, str], attributes: Attributes) -> Mapping[str, str]:
    """Give a receipt that tells under which changed attributes a result went."""
    return {**receipt, IDENTITY_KEY: json.dumps(attributes)} if attributes else receipt


def told_identity(receipt: Mapping[str, str]) -> Mapping[str, str]:
    """Read them back, by keyword: a withdrawal goes to whom the result was told of."""
    return dict(json.loads(receipt.get(IDENTITY_KEY, "[]")))


def as_told(
    receipt: Mapping[str, str], kept: Mapping[str, str], claimed: Mapping[str, str]
) -> Mapping[str, str]:
    """A new receipt; whom it named, where the patient became another while it was being sent.

    `claimed` and `kept` are the delivery's receipt when its sending began, and when it ended.
    """
    former = told_identity(kept)
    if former == told_identity(claimed):
        return receipt
    return with_identity(receipt, tuple({**former, **told_identity(receipt)}.items()))


def keep_told_identity(
    session: Session, study_instance_uid: str, former: Mapping[str, str]
) -> None:
    """Keep with the reports of a study whom they named, before its own patient becomes another.

    Also with those that are to be withdrawn; not with one that nobody has: it named nobody. What a
    report was told under all the same, `former` does not replace.
    """
    of_study = select(Job.id).where(Job.study_instance_uid == study_instance_uid)
    # Jobs before deliveries, as whoever settles one locks them.
    job_ids = session.scalars(of_study.order_by(Job.id).with_for_update()).all()
    reports = (
        select(Delivery)
        .where(Delivery.job_id.in_(job_ids), Delivery.kind != DestinationKind.DICOM)
        .order_by(Delivery.id)
    )
    for row in session.scalars(reports.with_for_update()).all():
        is_told = row.purpose is Purpose.WITHDRAW or row.state is DeliveryState.SENDING
        if not is_told and not may_have_arrived(row):
            continue
        told = {**storable_map(former), **told_identity(row.receipt)}
        row.receipt = dict(with_identity(row.receipt, tuple(told.items())))


def keep_identity(db: Database, study_instance_uid: str, changes: Mapping[str, str]) -> None:
    """Keep what differs, by keyword; nothing where nothing does."""
    kept = storable_map(changes) or None
    with db.begin() as session:
        own = Study.study_instance_uid == study_instance_uid
        session.execute(update(Study).where(own).values(listed_identity=kept))


def known_identity(db: Database, study_instance_uid: str) -> Mapping[str, str]:
    """What differed when the PACS was asked last, by keyword."""
    own = Study.study_instance_uid == study_instance_uid
    with db.read() as session:
        return session.scalar(select(Study.listed_identity).where(own)) or {}


def outdated_keywords(told: Mapping[str, str], listed: Mapping[str, str]) -> tuple[str, ...]:
    """What decides and is otherwise by now than it was told; both tell what differs from images."""
    return tuple(keyword for keyword in DECIDING if told.get(keyword) != listed.get(keyword))


def reports_told_since(db: Database, since: datetime) -> tuple[ToldReport, ...]:
    """The reports that stand and were told from then on, the first one first.

    Objects in a PACS are not among them: it corrects what it holds together with the images.
    """
    statement = (
        select(Delivery, Job.study_instance_uid)
        .join(Job, Job.id == Delivery.job_id)
        .where(
            Delivery.kind != DestinationKind.DICOM,
            Delivery.purpose == Purpose.TELL,
            Delivery.state.in_((DeliveryState.SENT, DeliveryState.CONFIRMED)),
            Delivery.settled_at >= since,
            Job.state != JobState.SUPERSEDED,
        )
        .order_by(Delivery.id)
    )
    with db.read() as session:
        return tuple(
            ToldReport(
                delivery_id=row.id,
                destination=row.destination,
                job_id=row.job_id,
                study_instance_uid=study_uid,
                told_at=row.settled_at or since,
                identity=told_identity(row.receipt),
            )
            for row, study_uid in session.execute(statement).all()
        )
