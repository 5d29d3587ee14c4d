"""The queue as a worker sees it: claim, keep the lease, and come to one end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, Select, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import IllegalTransition, LeaseLost
from storage.job_queue import has_newer, requeue, supersede
from storage.job_reads import (
    finished_job,
    found_job,
    get_job,
    job_events,
    jobs_of_study,
    list_jobs,
)
from storage.job_rows import job_record, measurement_columns, object_columns
from storage.job_state import change_job
from storage.job_tables import Job, Measurement, ResultObjectRow
from storage.outbox import drop_unsent, fill_outbox
from storage.records import FOR_REVIEW, JobRecord, JobResult, JobState, NewDelivery
from storage.state_change import Actor, Step
from storage.studies import found_study
from storage.telling import DeliveryPlan, nobody

__all__ = [
    "claim_next_job",
    "fail_job",
    "finish_job",
    "finished_job",
    "get_job",
    "heartbeat",
    "job_events",
    "jobs_of_study",
    "list_jobs",
    "refuse_job",
    "retry_job",
    "return_expired",
    "return_jobs_of",
]

WORKER_LOST = "worker_lost"
WORKER_LOST_TEXT = "the worker stopped without an end of the job"


def claim_next_job(
    db: Database, *, worker_id: str, lease_s: float, now: datetime
) -> JobRecord | None:
    """Take the most urgent job that is due, or None.

    Lowest priority number first, then the one due longest. Two workers never get the same job.
    """
    due = (
        select(Job.id)
        .where(Job.state == JobState.QUEUED, Job.due_at <= now)
        .order_by(Job.priority, Job.due_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    with db.begin() as session:
        job_id = session.scalar(due)
        if job_id is None:
            return None
        change_job(
            session,
            job_id,
            JobState.QUEUED,
            JobState.RUNNING,
            Step(Actor.WORKER, now, worker_id),
            lease_expires_at=now + timedelta(seconds=lease_s),
            attempts=Job.attempts + 1,
            started_at=now,
        )
        return job_record(found_job(session, job_id))


def heartbeat(db: Database, job_id: int, *, worker_id: str, lease_s: float, now: datetime) -> None:
    """Renew the lease on a running job.

    Raises:
        LeaseLost: the job is no longer this worker's; stop working on it.
    """
    held = update(Job).where(
        Job.id == job_id, Job.state == JobState.RUNNING, Job.worker_id == worker_id
    )
    with db.begin() as session:
        result = session.execute(held.values(lease_expires_at=now + timedelta(seconds=lease_s)))
        if not (isinstance(result, CursorResult) and result.rowcount == 1):
            raise LeaseLost(f"job {job_id} is held by another worker, or by none")


def finish_job(
    db: Database,
    job_id: int,
    *,
    worker_id: str,
    result: JobResult,
    deliveries: tuple[NewDelivery, ...],
    now: datetime,
) -> None:
    """Register the results, end the job as succeeded and fill the outbox, in one transaction.

    If the study was routed meanwhile to newer work, or without this pipeline, the results are
    kept but not delivered: the job is superseded at once. A job that succeeds a second time,
    because its inputs are current again, replaces its results and is delivered once more.

    Raises:
        LeaseLost: the job is no longer this worker's; nothing was registered.
    """
    step = Step(Actor.WORKER, now, worker_id)
    with db.begin() as session:
        _locked(session, job_id)
        columns = _result_columns(result, now)
        ended = _for_review(step, result.review)
        change_job(session, job_id, JobState.RUNNING, JobState.SUCCEEDED, ended, **columns)
        _register(session, job_id, result)
        if has_newer(session, job_id):
            supersede(session, job_id, JobState.SUCCEEDED, now)
        else:
            fill_outbox(session, job_id, deliveries, step)


def refuse_job(
    db: Database,
    job_id: int,
    *,
    worker_id: str,
    code: str,
    text: str,
    now: datetime,
    plan: DeliveryPlan = nobody,
) -> None:
    """End a running job as not processed; `text` is free of patient data. `plan`: who is told.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    step = Step(Actor.WORKER, now, worker_id, code, text)
    with db.begin() as session:
        _locked(session, job_id)
        _end_untreated(session, job_id, JobState.REFUSED, step, plan)


def fail_job(
    db: Database,
    job_id: int,
    *,
    worker_id: str,
    code: str,
    text: str,
    retry_at: datetime | None,
    now: datetime,
    plan: DeliveryPlan = nobody,
) -> JobState:
    """End an attempt as failed: queued again for `retry_at` while attempts are left.

    `text` is free of patient data; `plan` says who is told when no attempt is left. Returns the
    state that the job is in now.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    step = Step(Actor.WORKER, now, worker_id, code, text)
    with db.begin() as session:
        return _end_attempt(session, _locked(session, job_id), step, retry_at, plan)


def return_expired(db: Database, *, now: datetime, plan: DeliveryPlan = nobody) -> tuple[int, ...]:
    """Take back the jobs whose lease ran out; failed, and told, where no attempt is left."""
    return _return_jobs(db, Job.lease_expires_at < now, now, plan)


def return_jobs_of(
    db: Database,
    worker_prefix: str,
    *,
    now: datetime,
    is_attempt: bool = True,
    plan: DeliveryPlan = nobody,
) -> tuple[int, ...]:
    """At start-up: take back the jobs of this node's workers of before, named `<prefix>/...`.

    `is_attempt` False, where the workers were asked to stop: that is not the jobs' fault, so the
    attempt does not count.
    """
    return _return_jobs(db, held_by(Job.worker_id, worker_prefix), now, plan, is_attempt=is_attempt)


def held_by(column: Any, worker_prefix: str) -> Any:
    """Worker ids that are the prefix or lie below it; `node1` is not a prefix of `node10/7`."""
    below = worker_prefix if worker_prefix.endswith("/") else f"{worker_prefix}/"
    return or_(column == worker_prefix, column.startswith(below, autoescape=True))


def retry_job(db: Database, job_id: int, *, now: datetime) -> None:
    """A person has a failed or refused job tried again, with all its attempts.

    Raises:
        IllegalTransition: it is neither; or it stands for a study that no pipeline took (have the
            study routed again); or newer work has replaced it. NotFound: there is no such job.
    """
    columns = {"attempts": 0, "due_at": now, "finished_at": None}
    with db.begin() as session:
        job = _locked(session, job_id)
        if job.pipeline_name == "":
            raise IllegalTransition(f"job {job_id} has no pipeline: have its study routed again")
        if has_newer(session, job_id):
            raise IllegalTransition(f"job {job_id} was replaced by newer work on its study")
        from_state = job.state if job.state is JobState.REFUSED else JobState.FAILED
        step = Step(Actor.PERSON, now)
        change_job(session, job_id, from_state, JobState.QUEUED, step, **columns)
        drop_unsent(session, job_id, step)


def _return_jobs(
    db: Database, condition: Any, now: datetime, plan: DeliveryPlan, *, is_attempt: bool = True
) -> tuple[int, ...]:
    held = select(Job.id).where(Job.state == JobState.RUNNING, condition)
    step = Step(Actor.SWEEP, now, None, WORKER_LOST, WORKER_LOST_TEXT)

    def end(session: Session, job: Job) -> None:
        if is_attempt:
            _end_attempt(session, job, step, now, plan)
        else:
            requeue(session, job.id, step, now, attempts=job.attempts - 1)

    with db.read() as session:
        found = session.scalars(held.order_by(Job.id)).all()
    # One transaction each: locks on several studies at once could cross those of others.
    return tuple(one for one in found if _take_back(db, one, held, end))


def _take_back(db: Database, job_id: int, held: Select[int], end: Callable[..., None]) -> bool:
    with db.begin() as session:
        job = _locked(session, job_id)
        # Asked again under the lock: its worker may have ended it since the list was made.
        is_held = session.scalar(held.where(Job.id == job_id).with_for_update()) is not None
        if is_held:
            end(session, job)
        return is_held


def _locked(session: Session, job_id: int) -> Job:
    """The job, its study locked as routing does: one of the two sees what the other did."""
    found_study(session, found_job(session, job_id).study_instance_uid, lock=True)
    return found_job(session, job_id)


def _end_attempt(
    session: Session, job: Job, step: Step, retry_at: datetime | None, plan: DeliveryPlan
) -> JobState:
    if retry_at is not None and job.attempts < job.max_attempts:
        return requeue(session, job.id, step, retry_at)
    _end_untreated(session, job.id, JobState.FAILED, step, plan)
    return JobState.FAILED


def _end_untreated(
    session: Session, job_id: int, to_state: JobState, step: Step, plan: DeliveryPlan
) -> None:
    """End a job without a result, and tell so, unless newer work will be told instead."""
    change_job(session, job_id, JobState.RUNNING, to_state, step, finished_at=step.now)
    if not has_newer(session, job_id):
        fill_outbox(session, job_id, plan(job_record(found_job(session, job_id))), step)


def _for_review(step: Step, review: str) -> Step:
    return replace(step, reason_code=FOR_REVIEW, reason_text=review) if review else step


def _result_columns(result: JobResult, now: datetime) -> dict[str, Any]:
    return {
        "finished_at": now,
        "outcome": result.outcome,
        "device": result.device,
        "peak_memory_mib": result.peak_memory_mib,
        "stage_times_s": dict(result.stage_times_s),
    }


def _register(session: Session, job_id: int, result: JobResult) -> None:
    for table in (ResultObjectRow, Measurement):
        session.execute(delete(table).where(table.job_id == job_id))
    objects = [object_columns(one) | {"position": i} for i, one in enumerate(result.objects)]
    _insert_all(session, ResultObjectRow, job_id, objects)
    _insert_all(session, Measurement, job_id, map(measurement_columns, result.measurements))


def _insert_all(
    session: Session, table: type[Any], job_id: int, rows: Iterable[dict[str, Any]]
) -> None:
    for row in rows:
        session.execute(insert(table).values(job_id=job_id, **row))
