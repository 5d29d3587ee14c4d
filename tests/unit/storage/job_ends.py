"""How the tests have a job end, and what its history says."""

from __future__ import annotations

from datetime import datetime

from storage.database import Database
from storage.jobs import (
    claim_next_job,
    fail_job,
    job_events,
    refuse_job,
)
from storage.records import JobState
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    WORKER,
    after,
)


def try_claim(db: Database, now: datetime = NOW) -> int | None:
    job = claim_next_job(db, worker_id=WORKER, lease_s=LEASE_S, now=now)
    return None if job is None else job.job_id


def fail(
    db: Database, job_id: int, *, retry_at: datetime | None = None, worker_id: str = WORKER
) -> JobState:
    return fail_job(
        db,
        job_id,
        worker_id=worker_id,
        code="inference_failed",
        text="the model gave no result",
        retry_at=retry_at,
        now=after(1),
    )


def refuse(db: Database, job_id: int, worker_id: str = WORKER) -> None:
    text = "only 3 slices"
    refuse_job(db, job_id, worker_id=worker_id, code="too_few_slices", text=text, now=after(1))


def events(db: Database, job_id: int) -> list[tuple[str, str, str]]:
    return [(one.from_state, one.to_state, one.actor) for one in job_events(db, job_id)]
