"""How jobs enter the queue, return to it, and make way for newer ones.

A job carries the newest generation of its study that asks for it. So the generation that was
routed last is the highest one among the jobs of a study, refusals included, and a job of an older
generation works on images, or for a pipeline, that no longer count.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session

from storage.job_rows import inputs_json
from storage.job_state import change_job, record_new_job
from storage.job_tables import Job
from storage.records import JobState, NewJob, Refusal
from storage.rejected_results import RESULT_REJECTED
from storage.state_change import Actor, Step
from storage.study_rows import asdict_or_none
from storage.telling import TOLD_STATES
from storage.upsert import insert_new
from storage.withdrawal import tell_again, withdraw_deliveries

NEWER = "newer_generation"
NEWER_TEXT = "a newer state of the study, or newer work on it, replaces this"
CURRENT_AGAIN = "current_again"
CURRENT_AGAIN_TEXT = "the study is again as it was when this job was made"


class Enqueued(NamedTuple):
    """The job that stands for the wanted work, and whether it has entered the queue just now."""

    job_id: int
    is_queued: bool


def enqueue(session: Session, new: NewJob, now: datetime) -> Enqueued:
    """Queue a job; where this very work is known already, its job becomes the current one.

    A known job that was superseded goes back into the queue, unless a person at a PACS did not want
    its result; any other stays as it stands.
    """
    columns = _wanted(new) | {
        "study_instance_uid": new.study_instance_uid,
        "pipeline_digest": new.pipeline_digest,
        "input_digest": new.input_digest,
        "state": JobState.QUEUED,
    }
    job_id = _insert(session, columns, Step(Actor.ROUTING, now))
    return _reuse(session, new, now) if job_id is None else Enqueued(job_id, True)


def supersede_all_but(
    session: Session, study_instance_uid: str, current: Collection[int], now: datetime
) -> None:
    """Supersede the waiting and succeeded jobs of a study that are not among the current ones.

    Those that ended without a result stay as they are; what was told of them is taken back.
    """
    older = select(Job.id, Job.state).where(
        Job.study_instance_uid == study_instance_uid,
        Job.id.not_in(current),
        Job.state.in_((JobState.QUEUED, *TOLD_STATES)),
    )
    # A running one is replaced when it comes to its end (`storage.jobs.finish_job`).
    for job_id, state in session.execute(older.order_by(Job.id).with_for_update()).all():
        if state in (JobState.REFUSED, JobState.FAILED):
            withdraw_deliveries(session, job_id, replaced(now))
        else:
            supersede(session, job_id, state, now)


def replaced(now: datetime) -> Step:
    """The step by which newer work takes the place of a job."""
    return Step(Actor.ROUTING, now, None, NEWER, NEWER_TEXT)


def is_replaced(session: Session, job_id: int) -> bool:
    """Whether what a job told is not to be told any more, since newer work is."""
    state = session.scalar(select(Job.state).where(Job.id == job_id))
    if state in (JobState.REFUSED, JobState.FAILED):
        return has_newer(session, job_id)
    return state is JobState.SUPERSEDED


def enqueue_refusal(
    session: Session, study_instance_uid: str, generation: int, refusal: Refusal, now: datetime
) -> int | None:
    """Record that no pipeline took this generation of a study; None where that is known."""
    columns = {
        "study_instance_uid": study_instance_uid,
        "generation": generation,
        "state": JobState.REFUSED,
        "reason_code": refusal.code,
        "reason_text": refusal.text,
        "finished_at": now,
    }
    step = Step(Actor.ROUTING, now, None, refusal.code, refusal.text)
    return _insert(session, columns, step)


def has_newer(session: Session, job_id: int) -> bool:
    """Whether the study was routed again without this job, or to a newer one of its pipeline."""
    columns = Job.study_instance_uid, Job.pipeline_name, Job.generation
    job = session.execute(select(*columns).where(Job.id == job_id)).one()
    is_later = and_(
        Job.pipeline_name == job.pipeline_name, Job.generation == job.generation, Job.id > job_id
    )
    newer = exists().where(
        Job.study_instance_uid == job.study_instance_uid,
        or_(Job.generation > job.generation, is_later),
    )
    return bool(session.scalar(select(newer)))


def supersede(session: Session, job_id: int, state: JobState, now: datetime) -> None:
    """Mark a queued or succeeded job as replaced, and take back what was told of it."""
    step = replaced(now)
    change_job(session, job_id, state, JobState.SUPERSEDED, step)
    withdraw_deliveries(session, job_id, step)


def requeue(
    session: Session, job_id: int, step: Step, due_at: datetime, **columns: Any
) -> JobState:
    """Put a running job back into the queue, unless a newer one makes it needless."""
    states = JobState.RUNNING, JobState.QUEUED
    change_job(session, job_id, *states, step, due_at=due_at, **columns)
    if not has_newer(session, job_id):
        return JobState.QUEUED
    supersede(session, job_id, JobState.QUEUED, step.now)
    return JobState.SUPERSEDED


def _wanted(new: NewJob) -> dict[str, Any]:
    """What a later generation may say anew about the same work."""
    return {
        "generation": new.generation,
        "pipeline_name": new.pipeline_name,
        "inputs": inputs_json(new.inputs),
        "algorithm": asdict_or_none(new.algorithm),
        "destinations": list(new.destinations),
        "priority": new.priority,
        "max_attempts": new.max_attempts,
    }


def _reuse(session: Session, new: NewJob, now: datetime) -> Enqueued:
    known = select(Job.id, Job.state, Job.reason_code).where(
        Job.study_instance_uid == new.study_instance_uid,
        Job.pipeline_digest == new.pipeline_digest,
        Job.input_digest == new.input_digest,
        Job.pipeline_name != "",
    )
    job_id, state, reason_code = session.execute(known.with_for_update()).one()
    step = Step(Actor.ROUTING, now, None, CURRENT_AGAIN, CURRENT_AGAIN_TEXT)
    if state is not JobState.SUPERSEDED or reason_code == RESULT_REJECTED:
        session.execute(update(Job).where(Job.id == job_id).values(generation=new.generation))
        if state in (JobState.REFUSED, JobState.FAILED):
            tell_again(session, job_id, step)
        return Enqueued(job_id, False)
    # `created_at` stays: the results carry it, and must come out as they did the first time.
    columns = _wanted(new) | {"attempts": 0, "due_at": now, "finished_at": None}
    change_job(session, job_id, JobState.SUPERSEDED, JobState.QUEUED, step, **columns)
    return Enqueued(job_id, True)


def _insert(session: Session, columns: dict[str, Any], step: Step) -> int | None:
    job = insert_new(session, Job, _blank(step.now) | columns)
    if job is None:
        return None
    record_new_job(session, job.id, columns["state"], step)
    return job.id


def _blank(now: datetime) -> dict[str, Any]:
    empty_texts = ("pipeline_name", "pipeline_digest", "input_digest", "reason_code")
    return dict.fromkeys((*empty_texts, "reason_text", "device"), "") | {
        "inputs": [],
        "destinations": [],
        "stage_times_s": {},
        "priority": 0,
        "attempts": 0,
        "max_attempts": 0,
        "due_at": now,
        "created_at": now,
    }
