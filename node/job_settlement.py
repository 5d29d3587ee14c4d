"""Writes what an attempt came to: results with their deliveries, a refusal, or a failure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from config.settings import Settings
from node.attempt import Attempted, Failure
from node.delivery_plan import plan_of, planned_deliveries
from storage import jobs, studies
from storage.database import Database
from storage.errors import IllegalTransition
from storage.records import JobRecord, JobResult, JobState, Refusal

_LONGEST_DELAY_S = 3600.0
_PIPELINE_CHANGED = Refusal(
    "pipeline_changed", "the pipeline is no longer the one that the study was routed to"
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class JobSettlement:
    """The ways in which one worker's job can end.

    Every method raises `LeaseLost` when the job is no longer this worker's, and
    `DatabaseUnavailable` when the same call may work later; nothing was written then.
    """

    settings: Settings
    db: Database
    worker_id: str

    def settle(self, job: JobRecord, done: Attempted, now: datetime) -> None:
        """Write the outcome of one attempt."""
        match done:
            case Refusal():
                self._refuse(job, done, now)
            case Failure():
                self._fail(job, done, now)
            case JobResult():
                self._finish(job, done, now)

    def pipeline_changed(self, job: JobRecord, now: datetime) -> None:
        """Refuse a job that was routed to another version, and have its study routed anew."""
        # The study first: after a crash in between, the job comes back and both are done again.
        with suppress(IllegalTransition):  # more has come, so it will be routed anyway
            studies.reopen_for_routing(self.db, job.study_instance_uid, now=now)
        self._refuse(job, _PIPELINE_CHANGED, now)

    def _finish(self, job: JobRecord, result: JobResult, now: datetime) -> None:
        done = replace(job, state=JobState.SUCCEEDED, outcome=result.outcome)
        jobs.finish_job(
            self.db,
            job.job_id,
            worker_id=self.worker_id,
            result=result,
            deliveries=planned_deliveries(done, self.settings.destinations, now=now),
            now=now,
        )
        log.info(
            "job_succeeded",
            outcome=result.outcome,
            device=result.device,
            peak_memory_mib=round(result.peak_memory_mib),
            stage_times_s={stage: round(s, 3) for stage, s in result.stage_times_s.items()},
        )

    def _refuse(self, job: JobRecord, refusal: Refusal, now: datetime) -> None:
        jobs.refuse_job(
            self.db,
            job.job_id,
            worker_id=self.worker_id,
            code=refusal.code,
            text=refusal.text,
            now=now,
            plan=plan_of(self.settings.destinations, now),
        )
        log.info("job_refused", reason_code=refusal.code, reason=refusal.text)

    def _fail(self, job: JobRecord, failure: Failure, now: datetime) -> None:
        retry_at = now + self._delay(job.attempts) if failure.may_pass else None
        jobs.fail_job(
            self.db,
            job.job_id,
            worker_id=self.worker_id,
            code=failure.code,
            text=failure.text,
            retry_at=retry_at,
            now=now,
            plan=plan_of(self.settings.destinations, now),
        )
        log.error("job_failed", reason_code=failure.code, reason=failure.text, attempt=job.attempts)

    def _delay(self, attempts: int) -> timedelta:
        doubled = self.settings.worker.retry_delay_s * 2.0 ** (attempts - 1)
        return timedelta(seconds=min(doubled, _LONGEST_DELAY_S))
