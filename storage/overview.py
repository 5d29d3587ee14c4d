"""The state of things for a status table: studies, jobs, deliveries; no patient data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import StudyState
from storage.dicom_tables import Instance, ReplacedInstance, Series, Study
from storage.evidence_tables import Confirmation
from storage.identity import outdated_keywords, told_identity
from storage.job_tables import Delivery, Job
from storage.records import DeliveryState, DestinationKind, JobState, Outcome, Purpose
from storage.rejection_notes import note_rows, rejected_counts
from storage.rejection_records import NoteRow
from storage.sent_objects import (
    FALLBACK_KEY,
    LEFT_OUT_KEY,
    UNCONFIRMED_KEY,
    SentObject,
    sent_objects,
)

_TOLD = (DeliveryState.SENT, DeliveryState.CONFIRMED)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery of a job.

    `unconfirmed` is why the receiver of a sent delivery has not confirmed it, where it is asked:
    `asking`, `awaited` (its report), or the reason of the last try. `sent` is what a PACS got,
    `fallback` why it got that in place of segmentations, `left_out` what it did not take and why.
    `outdated`: a report that was told under another patient or order than the PACS lists the study
    under by now, by keyword.
    """

    delivery_id: int
    destination: str
    kind: DestinationKind
    state: DeliveryState
    attempts: int
    due_at: datetime
    reason_code: str
    reason_text: str
    unconfirmed: str = ""
    sent: tuple[SentObject, ...] = ()
    fallback: str = ""
    left_out: str = ""
    purpose: Purpose = Purpose.TELL
    outdated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job of a study; no `pipeline_name` where no pipeline took the study."""

    job_id: int
    pipeline_name: str
    generation: int
    state: JobState
    attempts: int
    outcome: Outcome | None
    reason_code: str
    reason_text: str
    started_at: datetime | None
    finished_at: datetime | None
    deliveries: tuple[DeliveryRow, ...]


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study; `instance_count` is without our own results.

    `complete_waited_s` is how long after its last instance it was found complete.
    `replaced_count` is how often an instance came again with other content, `rejected_count` how
    many instances that are here were taken back by rejection notes.
    """

    study_instance_uid: str
    state: StudyState
    generation: int
    calling_ae_title: str
    instance_count: int
    replaced_count: int
    last_received_at: datetime
    complete_evidence: str
    complete_at: datetime | None
    complete_waited_s: float | None
    jobs: tuple[JobRow, ...]
    rejected_count: int = 0
    rejection_notes: tuple[NoteRow, ...] = ()


def study_rows(db: Database, limit: int) -> tuple[StudyRow, ...]:
    """The studies that received something last, newest first, each with its jobs and deliveries."""
    newest = select(Study).order_by(Study.last_received_at.desc(), Study.study_instance_uid)
    with db.read() as session:
        studies = session.scalars(newest.limit(limit)).all()
        uids = [study.study_instance_uid for study in studies]
        jobs = _jobs(session, uids)
        counts = _instance_counts(session, uids)
        replaced = _replaced_counts(session, uids)
        rejected = rejected_counts(session, uids)
        notes = note_rows(session, uids)
        return tuple(
            replace(
                _study_row(study, counts, replaced, jobs),
                rejected_count=rejected.get(study.study_instance_uid, 0),
                rejection_notes=notes.get(study.study_instance_uid, ()),
            )
            for study in studies
        )


def _study_row(
    study: Study, counts: dict[str, int], replaced: dict[str, int], jobs: dict[str, list[JobRow]]
) -> StudyRow:
    return StudyRow(
        study_instance_uid=study.study_instance_uid,
        state=study.state,
        generation=study.generation,
        calling_ae_title=study.calling_ae_title,
        instance_count=counts.get(study.study_instance_uid, 0),
        replaced_count=replaced.get(study.study_instance_uid, 0),
        last_received_at=study.last_received_at,
        complete_evidence=study.complete_evidence,
        complete_at=study.complete_at,
        complete_waited_s=study.complete_waited_s if study.complete_at else None,
        jobs=tuple(jobs.get(study.study_instance_uid, ())),
    )


def _jobs(session: Session, study_uids: list[str]) -> dict[str, list[JobRow]]:
    statement = select(Job).where(Job.study_instance_uid.in_(study_uids)).order_by(Job.id)
    rows = session.scalars(statement).all()
    deliveries = _deliveries(session, [row.id for row in rows])
    jobs: dict[str, list[JobRow]] = defaultdict(list)
    for row in rows:
        jobs[row.study_instance_uid].append(_job_row(row, deliveries.get(row.id, ())))
    return jobs


def _job_row(job: Job, deliveries: Iterable[DeliveryRow]) -> JobRow:
    return JobRow(
        job_id=job.id,
        pipeline_name=job.pipeline_name,
        generation=job.generation,
        state=job.state,
        attempts=job.attempts,
        outcome=job.outcome,
        reason_code=job.reason_code,
        reason_text=job.reason_text,
        started_at=job.started_at,
        finished_at=job.finished_at,
        deliveries=tuple(deliveries),
    )


def _deliveries(session: Session, job_ids: list[int]) -> dict[int, list[DeliveryRow]]:
    statement = (
        select(Delivery, Confirmation, Study.listed_identity)
        .join(Job, Job.id == Delivery.job_id)
        .join(Study, Study.study_instance_uid == Job.study_instance_uid)
        .outerjoin(Confirmation, Confirmation.delivery_id == Delivery.id)
        .where(Delivery.job_id.in_(job_ids))
        .order_by(Delivery.id)
    )
    rows: dict[int, list[DeliveryRow]] = defaultdict(list)
    for delivery, confirmation, listed in session.execute(statement):
        row = _delivery_row(delivery, confirmation)
        rows[delivery.job_id].append(replace(row, outdated=_outdated(delivery, listed or {})))
    return rows


def _delivery_row(delivery: Delivery, confirmation: Confirmation | None) -> DeliveryRow:
    return DeliveryRow(
        delivery_id=delivery.id,
        destination=delivery.destination,
        kind=delivery.kind,
        state=delivery.state,
        attempts=delivery.attempts,
        due_at=delivery.due_at,
        reason_code=delivery.reason_code,
        reason_text=delivery.reason_text,
        unconfirmed=_unconfirmed(delivery, confirmation),
        sent=sent_objects(delivery.receipt),
        fallback=delivery.receipt.get(FALLBACK_KEY, ""),
        left_out=delivery.receipt.get(LEFT_OUT_KEY, ""),
        purpose=delivery.purpose,
    )


def _outdated(delivery: Delivery, listed: Mapping[str, str]) -> tuple[str, ...]:
    is_told = delivery.state in _TOLD and delivery.purpose is Purpose.TELL
    if not is_told or delivery.kind is DestinationKind.DICOM:
        return ()
    return outdated_keywords(told_identity(delivery.receipt), listed)


def _unconfirmed(delivery: Delivery, confirmation: Confirmation | None) -> str:
    if delivery.state is not DeliveryState.SENT:
        return ""
    if confirmation is None:
        return delivery.receipt.get(UNCONFIRMED_KEY, "")
    return confirmation.reason_code or confirmation.state.value


def _instance_counts(session: Session, study_uids: list[str]) -> dict[str, int]:
    statement = (
        select(Series.study_instance_uid, func.count())
        .join(Instance, Instance.series_instance_uid == Series.series_instance_uid)
        .where(Series.study_instance_uid.in_(study_uids), Instance.is_own_result.is_(False))
        .group_by(Series.study_instance_uid)
    )
    return dict(session.execute(statement).all())


def _replaced_counts(session: Session, study_uids: list[str]) -> dict[str, int]:
    statement = (
        select(ReplacedInstance.study_instance_uid, func.count())
        .where(ReplacedInstance.study_instance_uid.in_(study_uids))
        .group_by(ReplacedInstance.study_instance_uid)
    )
    return dict(session.execute(statement).all())
