"""Studies: receiving -> ready (complete) -> routed; and back to receiving when more comes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import SeriesRecord, StudyRecord, StudyState
from storage.dicom_tables import Instance, Series, Study
from storage.errors import IllegalTransition, NotFound
from storage.evidence_tables import Completion
from storage.instance_files import uid_tag
from storage.job_queue import enqueue, enqueue_refusal, supersede_all_but
from storage.job_rows import job_record
from storage.job_tables import Job, ResultObjectRow
from storage.outbox import fill_outbox
from storage.records import NewJob, Refusal
from storage.state_change import Actor, Step
from storage.study_progress import StudyProgress, open_studies, series_counts
from storage.study_rows import series_record, study_record
from storage.telling import DeliveryPlan, nobody
from storage.upsert import insert_new

__all__ = [
    "Refusal",
    "StudyProgress",
    "get_study",
    "list_studies",
    "mark_ready",
    "open_studies",
    "own_series_of_study",
    "ready_studies",
    "reopen_for_routing",
    "route",
    "series_of_study",
]

# Put together once: it is asked several times a second, and building it takes longest.
_READY = select(Study).where(Study.state == StudyState.READY).order_by(Study.last_received_at)


def get_study(db: Database, study_instance_uid: str) -> StudyRecord:
    """One study.

    Raises:
        NotFound: it is not here.
    """
    with db.read() as session:
        return study_record(found_study(session, study_instance_uid))


def list_studies(db: Database, limit: int) -> tuple[StudyRecord, ...]:
    """The studies that received something last, newest first."""
    statement = select(Study).order_by(Study.last_received_at.desc(), Study.study_instance_uid)
    with db.read() as session:
        return tuple(study_record(row) for row in session.scalars(statement.limit(limit)))


def ready_studies(db: Database) -> tuple[StudyRecord, ...]:
    """The studies that are complete and wait for routing, oldest first."""
    with db.read() as session:
        return tuple(study_record(row) for row in session.scalars(_READY))


def series_of_study(db: Database, study_instance_uid: str) -> tuple[SeriesRecord, ...]:
    """The series of a study by Series Number, then UID; those of our own results left out."""
    with db.read() as session:
        return series_records(session, study_instance_uid)


def own_series_of_study(db: Database, study_instance_uid: str) -> frozenset[str]:
    """Series Instance UIDs that this node made for the study, or that came back as ours."""
    made = select(ResultObjectRow.series_instance_uid).join(Job, Job.id == ResultObjectRow.job_id)
    made = made.where(Job.study_instance_uid == study_instance_uid)
    back = select(Instance.series_instance_uid).join(
        Series, Series.series_instance_uid == Instance.series_instance_uid
    )
    back = back.where(
        Series.study_instance_uid == study_instance_uid, Instance.is_own_result.is_(True)
    )
    with db.read() as session:
        return frozenset(session.scalars(made.union(back)))


def mark_ready(
    db: Database,
    study_instance_uid: str,
    *,
    generation: int,
    last_received_at: datetime,
    evidence: str,
    now: datetime,
    waited_s: float = 0.0,
) -> bool:
    """Take a study as complete, if nothing has come since the caller looked at it.

    What decided, and `waited_s`, the seconds since its last instance, are kept with the study
    and, for each generation, in a row of their own. Returns False, and changes nothing, where the
    study is not RECEIVING at that generation or received something after `last_received_at`.
    """
    statement = update(Study).where(
        Study.study_instance_uid == study_instance_uid,
        Study.state == StudyState.RECEIVING,
        Study.generation == generation,
        Study.last_received_at == last_received_at,
    )
    columns = {"state": StudyState.READY, "complete_evidence": evidence, "complete_at": now}
    with db.begin() as session:
        if not _is_changed(
            session.execute(statement.values(**columns, complete_waited_s=waited_s))
        ):
            return False
        decision: dict[str, Any] = {"evidence": evidence, "decided_at": now, "waited_s": waited_s}
        decision["instance_count"] = sum(series_counts(session, study_instance_uid).values())
        key = {"study_instance_uid": study_instance_uid, "generation": generation}
        insert_new(session, Completion, key | decision)
        return True


def route(
    db: Database,
    study_instance_uid: str,
    *,
    generation: int,
    jobs: tuple[NewJob, ...],
    refusal: Refusal | None,
    now: datetime,
    plan: DeliveryPlan = nobody,
) -> tuple[int, ...]:
    """Route a complete study in one transaction and return the jobs that are queued by that.

    Work that is known already (study, pipeline digest, input digest) is not queued again, unless
    it was superseded and is current again. Every other job of the study, queued or succeeded, is
    superseded: also that of a pipeline which no longer takes the study. Without jobs, one
    refused job tells why, here and to whom `plan` says. Where the study is no longer READY at
    that generation, nothing happens: more has come, or somebody else has routed it.
    """
    if not jobs and refusal is None:
        raise ValueError("a study without jobs needs a refusal: every study has an outcome")
    statement = update(Study).where(
        Study.study_instance_uid == study_instance_uid,
        Study.state == StudyState.READY,
        Study.generation == generation,
    )
    with db.begin() as session:
        if not _is_changed(session.execute(statement.values(state=StudyState.ROUTED))):
            return ()
        wanted = [enqueue(session, job, now) for job in jobs]
        current = {job.job_id for job in wanted}
        supersede_all_but(session, study_instance_uid, current, now)
        if not jobs and refusal is not None:
            refused = enqueue_refusal(session, study_instance_uid, generation, refusal, now)
            if refused is None:
                return ()
            step = Step(Actor.ROUTING, now, None, refusal.code, refusal.text)
            record = job_record(session.get_one(Job, refused))
            fill_outbox(session, refused, plan(record), step)
            return (refused,)
        return tuple(job.job_id for job in wanted if job.is_queued)


def reopen_for_routing(db: Database, study_instance_uid: str, *, now: datetime) -> None:
    """A person has a routed study routed again, for instance after a new pipeline was set up.

    That is a generation of its own: each is routed once, so what it asks for is beyond doubt.

    Raises:
        IllegalTransition: the study is not routed. NotFound: it is not here.
    """
    statement = update(Study).where(
        Study.study_instance_uid == study_instance_uid, Study.state == StudyState.ROUTED
    )
    columns = {"state": StudyState.READY, "generation": Study.generation + 1}
    with db.begin() as session:
        if not _is_changed(session.execute(statement.values(**columns))):
            state = found_study(session, study_instance_uid).state
            raise IllegalTransition(f"study {uid_tag(study_instance_uid)} is {state}, not routed")


def found_study(session: Session, study_instance_uid: str, *, lock: bool = False) -> Study:
    """The row of a study; `lock` keeps others from changing it until the transaction ends.

    Raises:
        NotFound: it is not here.
    """
    study = session.get(Study, study_instance_uid, with_for_update=lock or None)
    if study is None:
        raise NotFound(f"there is no study {uid_tag(study_instance_uid)}")
    return study


def series_records(session: Session, study_instance_uid: str) -> tuple[SeriesRecord, ...]:
    """`series_of_study` inside a transaction."""
    rows = session.scalars(select(Series).where(Series.study_instance_uid == study_instance_uid))
    counts = series_counts(session, study_instance_uid)
    records = [
        series_record(row, counts[row.series_instance_uid])
        for row in rows
        if row.series_instance_uid in counts
    ]
    return tuple(sorted(records, key=_order))


def _order(record: SeriesRecord) -> tuple[bool, int, str]:
    number = record.header.series_number
    return number is None, number or 0, record.header.series_instance_uid


def _is_changed(result: Any) -> bool:
    return isinstance(result, CursorResult) and result.rowcount == 1
