"""The state of things for a status table: studies, jobs, deliveries; no patient data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_tables import Instance, ReplacedInstance, Series, Study
from storage.evidence_tables import Confirmation
from storage.job_tables import Delivery, Job
from storage.overview_rows import DeliveryRow, JobRow, StudyRow
from storage.records import DeliveryState
from storage.rejection_notes import note_rows, rejected_counts
from storage.sent_objects import FALLBACK_KEY, LEFT_OUT_KEY, UNCONFIRMED_KEY, sent_objects
from storage.unfinished import is_unfinished, maybe_unfinished, outdated

_AT_ONCE = 2000


def study_rows(db: Database, limit: int) -> tuple[StudyRow, ...]:
    """The studies that received something last, newest first, each with its jobs and deliveries.

    Older ones follow where they wait, or a person has to see to them, however many.
    """
    newest = select(Study.study_instance_uid).order_by(
        Study.last_received_at.desc(), Study.study_instance_uid
    )
    with db.read() as session:
        first = session.scalars(newest.limit(limit)).all()
        older = sorted(maybe_unfinished(session).difference(first))
        rows = [*_rows(session, first), *filter(is_unfinished, _rows(session, older))]
    rows.sort(key=lambda row: (-row.last_received_at.timestamp(), row.study_instance_uid))
    return tuple(rows)


def study_count(db: Database) -> int:
    """How many studies there are."""
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(Study)) or 0


def _rows(session: Session, study_uids: Sequence[str]) -> Iterator[StudyRow]:
    # In parts: a statement takes some ten thousand values at most.
    for start in range(0, len(study_uids), _AT_ONCE):
        yield from _some_rows(session, study_uids[start : start + _AT_ONCE])


def _some_rows(session: Session, uids: Sequence[str]) -> Iterator[StudyRow]:
    jobs = _jobs(session, uids)
    counts = _instance_counts(session, uids)
    replaced = _replaced_counts(session, uids)
    rejected = rejected_counts(session, uids)
    notes = note_rows(session, uids)
    for study in session.scalars(select(Study).where(Study.study_instance_uid.in_(uids))):
        yield replace(
            _study_row(study, counts, replaced, jobs),
            rejected_count=rejected.get(study.study_instance_uid, 0),
            rejection_notes=notes.get(study.study_instance_uid, ()),
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


def _jobs(session: Session, study_uids: Sequence[str]) -> dict[str, list[JobRow]]:
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


def _deliveries(session: Session, job_ids: Sequence[int]) -> dict[int, list[DeliveryRow]]:
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
        rows[delivery.job_id].append(replace(row, outdated=outdated(delivery, listed or {})))
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


def _unconfirmed(delivery: Delivery, confirmation: Confirmation | None) -> str:
    if delivery.state is not DeliveryState.SENT:
        return ""
    if confirmation is None:
        return delivery.receipt.get(UNCONFIRMED_KEY, "")
    return confirmation.reason_code or confirmation.state.value


def _instance_counts(session: Session, study_uids: Sequence[str]) -> dict[str, int]:
    statement = (
        select(Series.study_instance_uid, func.count())
        .join(Instance, Instance.series_instance_uid == Series.series_instance_uid)
        .where(Series.study_instance_uid.in_(study_uids), Instance.is_own_result.is_(False))
        .group_by(Series.study_instance_uid)
    )
    return dict(session.execute(statement).all())


def _replaced_counts(session: Session, study_uids: Sequence[str]) -> dict[str, int]:
    statement = (
        select(ReplacedInstance.study_instance_uid, func.count())
        .where(ReplacedInstance.study_instance_uid.in_(study_uids))
        .group_by(ReplacedInstance.study_instance_uid)
    )
    return dict(session.execute(statement).all())
