"""Studies: receiving -> ready (complete) -> routed; and back to receiving when more comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import CursorResult, exists, func, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import SeriesRecord, StudyRecord, StudyState
from storage.dicom_tables import (
    Association,
    AssociationStudy,
    Instance,
    ReplacedInstance,
    Series,
    Study,
)
from storage.errors import IllegalTransition, NotFound
from storage.instance_files import uid_tag
from storage.job_queue import enqueue, enqueue_refusal, supersede_all_but
from storage.job_tables import Job, ResultObjectRow
from storage.records import NewJob, Refusal
from storage.study_rows import series_record, study_record

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


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """What is known about a study that is being received.

    `last_association_end` ("released", "aborted" or "lost") is of the association that ended
    last among those that touched the study; one that broke off counts until a later one was
    opened and released. `series_counts` maps Series Instance UIDs to
    numbers of instances, without our own results. `has_replaced`: an instance came anew, with
    other content, in this generation; then equal counts say nothing about what is still to come.
    """

    study: StudyRecord
    running_associations: int
    last_association_end: str | None
    last_association_ended_at: datetime | None
    series_counts: Mapping[str, int]
    has_replaced: bool = False


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
    return _in_state(db, StudyState.READY)


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


def open_studies(db: Database) -> tuple[StudyProgress, ...]:
    """Every study that is being received, with the evidence so far."""
    statement = select(Study).where(Study.state == StudyState.RECEIVING)
    with db.read() as session:
        rows = session.scalars(statement.order_by(Study.last_received_at)).all()
        return tuple(_progress(session, row) for row in rows)


def mark_ready(
    db: Database,
    study_instance_uid: str,
    *,
    generation: int,
    last_received_at: datetime,
    evidence: str,
    now: datetime,
) -> bool:
    """Take a study as complete, if nothing has come since the caller looked at it.

    Returns False, and changes nothing, where the study is not RECEIVING at that generation or
    received something after `last_received_at`.
    """
    statement = update(Study).where(
        Study.study_instance_uid == study_instance_uid,
        Study.state == StudyState.RECEIVING,
        Study.generation == generation,
        Study.last_received_at == last_received_at,
    )
    columns = {"state": StudyState.READY, "complete_evidence": evidence, "complete_at": now}
    with db.begin() as session:
        return _is_changed(session.execute(statement.values(**columns)))


def route(
    db: Database,
    study_instance_uid: str,
    *,
    generation: int,
    jobs: tuple[NewJob, ...],
    refusal: Refusal | None,
    now: datetime,
) -> tuple[int, ...]:
    """Route a complete study in one transaction and return the jobs that are queued by that.

    Work that is known already (study, pipeline digest, input digest) is not queued again, unless
    it was superseded and is current again. Every other job of the study, queued or succeeded, is
    superseded: also that of a pipeline which no longer takes the study. Without jobs, one
    refused job tells why. Where the study is no longer READY at that generation, nothing happens:
    more has come, or somebody else has routed it.
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
            return () if refused is None else (refused,)
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
    counts = _series_counts(session, study_instance_uid)
    records = [
        series_record(row, counts[row.series_instance_uid])
        for row in rows
        if row.series_instance_uid in counts
    ]
    return tuple(sorted(records, key=_order))


def _order(record: SeriesRecord) -> tuple[bool, int, str]:
    number = record.header.series_number
    return number is None, number or 0, record.header.series_instance_uid


def _in_state(db: Database, state: StudyState) -> tuple[StudyRecord, ...]:
    statement = select(Study).where(Study.state == state).order_by(Study.last_received_at)
    with db.read() as session:
        return tuple(study_record(row) for row in session.scalars(statement))


def _is_changed(result: Any) -> bool:
    return isinstance(result, CursorResult) and result.rowcount == 1


class _Ended(NamedTuple):
    end: str
    opened_at: datetime
    ended_at: datetime


def _decisive(ended: Sequence[_Ended]) -> _Ended | None:
    """The association whose end counts: the last one, unless an earlier one broke off.

    What broke off counts until a sender has come back after it and was released: of several
    associations side by side, the clean end of one does not mend the abort of another.
    """
    if not ended:
        return None
    broken = [each for each in ended if each.end != "released"]
    if not broken:
        return ended[-1]
    came_back = any(
        each.end == "released" and each.opened_at > broken[-1].ended_at for each in ended
    )
    return ended[-1] if came_back else broken[-1]


def _progress(session: Session, study: Study) -> StudyProgress:
    touching = (
        select(Association.end, Association.opened_at, Association.ended_at)
        .join(AssociationStudy, AssociationStudy.association_id == Association.id)
        .where(AssociationStudy.study_instance_uid == study.study_instance_uid)
        .order_by(Association.ended_at, Association.id)
    )
    associations = session.execute(touching).all()
    ended = [_Ended(str(end), opened, at) for end, opened, at in associations if at is not None]
    last = _decisive(ended)
    return StudyProgress(
        study=study_record(study),
        running_associations=len(associations) - len(ended),
        last_association_end=last.end if last else None,
        last_association_ended_at=last.ended_at if last else None,
        series_counts=_series_counts(session, study.study_instance_uid),
        has_replaced=_has_replaced(session, study),
    )


def _has_replaced(session: Session, study: Study) -> bool:
    replaced = exists().where(
        ReplacedInstance.study_instance_uid == study.study_instance_uid,
        ReplacedInstance.generation == study.generation,
    )
    return bool(session.scalar(select(replaced)))


def _series_counts(session: Session, study_instance_uid: str) -> dict[str, int]:
    statement = (
        select(Instance.series_instance_uid, func.count())
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study_instance_uid, Instance.is_own_result.is_(False))
        .group_by(Instance.series_instance_uid)
        .order_by(Instance.series_instance_uid)
    )
    return dict(session.execute(statement).all())
