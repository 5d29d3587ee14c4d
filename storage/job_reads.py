"""Jobs as records: one, many, their events, and all that a report needs."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import NotFound
from storage.event_records import EventRecord
from storage.job_rows import event_record, job_record, measurement_record, object_record
from storage.job_tables import Job, JobEvent, Measurement, ResultObjectRow
from storage.prior_records import PriorResult
from storage.records import FinishedJob, JobRecord, JobState, MeasurementRecord
from storage.studies import found_study, series_records
from storage.study_rows import study_record
from storage.telling import WITH_RESULT, telling


def get_job(db: Database, job_id: int) -> JobRecord:
    """One job.

    Raises:
        NotFound: there is no such job.
    """
    with db.read() as session:
        return job_record(found_job(session, job_id))


def list_jobs(db: Database, *, limit: int, state: JobState | None = None) -> tuple[JobRecord, ...]:
    """The newest jobs first; `state` leaves only those."""
    statement = select(Job).order_by(Job.id.desc()).limit(limit)
    if state is not None:
        statement = statement.where(Job.state == state)
    with db.read() as session:
        return tuple(job_record(row) for row in session.scalars(statement))


def jobs_of_study(db: Database, study_instance_uid: str) -> tuple[JobRecord, ...]:
    """The jobs of one study, oldest first."""
    statement = select(Job).where(Job.study_instance_uid == study_instance_uid).order_by(Job.id)
    with db.read() as session:
        return tuple(job_record(row) for row in session.scalars(statement))


def job_events(db: Database, job_id: int) -> tuple[EventRecord, ...]:
    """Every change of state of one job, oldest first; the first comes from the state ''."""
    statement = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
    with db.read() as session:
        return tuple(event_record(row) for row in session.scalars(statement))


def finished_job(db: Database, job_id: int) -> FinishedJob:
    """A job that came to its end, also if it was superseded later, with all that a report needs.

    One that was refused or has failed has no measurements and no objects: those of an earlier
    success are not its result any more.

    Raises:
        NotFound: there is no such job, or there is nothing to tell about it.
    """
    with db.read() as session:
        row = found_job(session, job_id)
        job = job_record(row)
        told = telling(job)
        if told is None:
            raise NotFound(f"job {job_id} has no results")
        has_result = told in WITH_RESULT
        objects = _objects(session, job_id) if has_result else []
        return FinishedJob(
            job=job,
            study=study_record(found_study(session, job.study_instance_uid)),
            series=series_records(session, job.study_instance_uid),
            measurements=measurements_of(session, job_id) if has_result else (),
            objects=tuple(map(object_record, objects)),
            priors=tuple(map(PriorResult.from_json, row.priors or ())) if has_result else (),
        )


def found_job(session: Session, job_id: int) -> Job:
    """The row of a job as the database has it now.

    Raises:
        NotFound: there is no such job.
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def measurements_of(session: Session, job_id: int) -> tuple[MeasurementRecord, ...]:
    """What a job measured, in its own order."""
    statement = select(Measurement).where(Measurement.job_id == job_id).order_by(Measurement.id)
    return tuple(map(measurement_record, session.scalars(statement)))


def _objects(session: Session, job_id: int) -> list[ResultObjectRow]:
    statement = select(ResultObjectRow).where(ResultObjectRow.job_id == job_id)
    return list(session.scalars(statement.order_by(ResultObjectRow.position)))
