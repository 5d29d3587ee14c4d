"""The states of a job: what may follow what, by whom; and the single writer of them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.orm import Session

from storage.job_tables import Job, JobEvent
from storage.records import JobState
from storage.state_change import Actor, Machine, Step, by, change, record_event

QUEUED, RUNNING, SUCCEEDED = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED
REFUSED, FAILED, SUPERSEDED = JobState.REFUSED, JobState.FAILED, JobState.SUPERSEDED

TRANSITIONS: Final = {
    (QUEUED, RUNNING): by(Actor.WORKER, meaning="claimed"),
    (QUEUED, SUPERSEDED): by(Actor.ROUTING, meaning="a newer job came before it ran"),
    (RUNNING, SUCCEEDED): by(Actor.WORKER, meaning="results registered"),
    (RUNNING, REFUSED): by(Actor.WORKER, meaning="not processed, with a coded reason"),
    (RUNNING, FAILED): by(Actor.WORKER, Actor.SWEEP, meaning="given up"),
    (RUNNING, SUPERSEDED): by(Actor.ROUTING, meaning="its images were taken back"),
    (RUNNING, QUEUED): by(
        Actor.WORKER, Actor.SWEEP, meaning="again: a retry, or the lease ran out"
    ),
    (SUCCEEDED, SUPERSEDED): by(
        Actor.ROUTING, meaning="a newer job replaces its results, or the PACS has rejected them"
    ),
    (SUPERSEDED, QUEUED): by(Actor.ROUTING, meaning="its inputs are current again"),
    (FAILED, QUEUED): by(Actor.PERSON, meaning="somebody asked for another try"),
    (REFUSED, QUEUED): by(Actor.PERSON, meaning="somebody asked for another try"),
}
"""(from, to) -> who may make the change, and what it means; anything else is illegal."""

MACHINE: Final = Machine("job", Job, JobEvent, "job_id", RUNNING, TRANSITIONS)


def change_job(
    session: Session,
    job_id: int,
    from_state: JobState,
    to_state: JobState,
    step: Step,
    **columns: Any,
) -> None:
    """Change a job's state, and `columns` with it: the only code that writes `job.state`.

    Raises:
        IllegalTransition: not in the table, or the job is not in `from_state`.
        LeaseLost: `step.worker_id` does not hold the job. NotFound: there is no such job.
    """
    change(session, MACHINE, job_id, (from_state, to_state), step, columns)


def record_new_job(session: Session, job_id: int, state: JobState, step: Step) -> None:
    """Record the event of a job's creation."""
    record_event(session, MACHINE, job_id, ("", state), step)
