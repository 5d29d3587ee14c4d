"""Stops a worker whose job takes longer than it may: a model that hangs would hang for ever.

Seen from the parent process, because a model may hang where no thread of its own process runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from config.settings import Settings
from node.delivery_plan import plan_of
from node.quiet_clock import Moment, QuietClock
from pipelines.registry import Registry
from storage import jobs
from storage.database import Database
from storage.errors import IllegalTransition, LeaseLost
from storage.records import JobRecord, JobState

TIME_LIMIT = "time_limit"
MOST_RUNNING = 100

log = structlog.get_logger()


class TimeLimits:
    """Watches the running jobs; `kill_worker` ends the worker process of a given process id.

    A job over its limit fails at once, however many attempts are left: a model that hangs on a
    study hangs on it again, and holds the studies behind it each time. A person can have it tried
    again. A worker that lets its lease run out gives no sign of life any more, and is ended too;
    its job returns to the queue. A clock that is set takes no job over its limit.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        registry: Registry,
        *,
        worker_prefix: str,
        kill_worker: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._registry = registry
        self._prefix = worker_prefix
        self._kill_worker = kill_worker
        self._clock = QuietClock()

    def enforce(self) -> None:
        """Look at every running job of this node once."""
        moment = Moment.now()
        running = jobs.list_jobs(self._db, limit=MOST_RUNNING, state=JobState.RUNNING)
        self._clock.forget_all_but({str(job.job_id) for job in running})
        for job in running:
            pid = self._pid(job)
            if pid is None:
                continue
            if self._is_over(job, moment):
                with suppress(LeaseLost, IllegalTransition):  # it came to its end just now
                    self._fail(job, moment.wall)
                    self._kill_worker(pid)
            elif job.lease_expires_at is not None and job.lease_expires_at < moment.wall:
                log.error("worker_gives_no_sign", job_id=job.job_id)
                self._kill_worker(pid)

    def limit_s(self, job: JobRecord) -> float:
        """The limit of the job's pipeline, or else the worker's."""
        registered = self._registry.get(job.pipeline_name)
        own = registered.definition.time_limit_s if registered else None
        return own or self._settings.worker.time_limit_s

    def _is_over(self, job: JobRecord, moment: Moment) -> bool:
        if job.started_at is None:
            return False
        took_s = self._clock.elapsed_s(str(job.job_id), "started", job.started_at, moment)
        return took_s > self.limit_s(job)

    def _fail(self, job: JobRecord, now: datetime) -> None:
        text = (
            f"stopped after {self.limit_s(job):g} s; raise time_limit_s of the pipeline or of the "
            "worker if the model needs longer, and retry the job"
        )
        assert job.worker_id is not None
        jobs.fail_job(
            self._db,
            job.job_id,
            worker_id=job.worker_id,
            code=TIME_LIMIT,
            text=text,
            retry_at=None,
            now=now,
            plan=plan_of(self._settings.destinations, now),
        )
        log.error("job_stopped_at_time_limit", job_id=job.job_id, limit_s=self.limit_s(job))

    def _pid(self, job: JobRecord) -> int | None:
        worker_id = job.worker_id or ""
        pid = worker_id.removeprefix(self._prefix)
        return int(pid) if worker_id.startswith(self._prefix) and pid.isdigit() else None
