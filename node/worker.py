"""The worker: claims a job, computes it under a lease, and settles it.

It runs as a process of its own, so that a model that crashes, or eats all memory, takes nothing
else with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from structlog.contextvars import bound_contextvars

from config.settings import Settings
from node.attempt import Failure, attempt, warm_up
from node.audit_trail import AuditEvent, note
from node.data_directory import kept_data
from node.heartbeat import Heartbeat
from node.job_settlement import JobSettlement
from node.offered_pipelines import offered_pipelines
from pipelines.registry import RegisteredPipeline, Registry
from storage import jobs
from storage.database import Database
from storage.errors import DatabaseUnavailable, IllegalTransition, LeaseLost, StorageError
from storage.instance_files import InstanceFiles, uid_tag
from storage.priors import priors_for
from storage.records import JobRecord

_SETTLE_ATTEMPTS = 10
_STORAGE_WAIT_S = 5.0

log = structlog.get_logger()


def run_worker(settings: Settings, stop: threading.Event, woken: threading.Event) -> None:
    """Work on jobs until `stop` is set; the job in hand is finished first.

    `woken` is set when a job was queued, and after `stop`: the queue is looked at once more then.

    Raises `pipelines.errors.PipelineError` when a definition or bundle is invalid.
    """
    registry = offered_pipelines(settings)
    warm_up(registry, settings)
    with kept_data(settings) as db:
        log.info("worker_ready", pipelines=sorted(registry))
        Worker(settings, db, registry).run(stop, woken)


class Worker:
    """One worker, with one job in hand at most."""

    def __init__(self, settings: Settings, db: Database, registry: Registry) -> None:
        self._settings = settings
        self._db = db
        self._files = InstanceFiles(settings.node.data_dir)
        self._registry = registry
        self._worker_id = f"{settings.node.name}/{os.getpid()}"
        self._settlement = JobSettlement(settings, db, self._worker_id)
        self._is_unfit = False

    def run(self, stop: threading.Event, woken: threading.Event) -> None:
        """Work until `stop` is set, or only a new process can go on; `woken` ends a wait."""
        while not (stop.is_set() or self._is_unfit):
            # Before the look: a job that is queued during it is seen by the next one.
            woken.clear()
            if not stop.is_set() and not self._work_if_storage_answers(stop):
                woken.wait(self._settings.worker.poll_interval_s)

    def _work_if_storage_answers(self, stop: threading.Event) -> bool:
        try:
            return self.work_once(stop)
        except StorageError as error:
            log.warning("worker_waits_for_storage", reason=str(error))
            stop.wait(_STORAGE_WAIT_S)
            return False

    def work_once(self, stop: threading.Event) -> bool:
        """Do one job from claim to settlement; False when none is due."""
        job = jobs.claim_next_job(
            self._db,
            worker_id=self._worker_id,
            lease_s=self._settings.worker.lease_s,
            now=datetime.now(UTC),
        )
        if job is None:
            return False
        with bound_contextvars(job_id=job.job_id, pipeline=job.pipeline_name):
            study = uid_tag(job.study_instance_uid)
            log.info("job_started", study=study, attempt=job.attempts)
            note(self._db, AuditEvent.INSTANCES_ACCESSED, actor=self._worker_id, job_id=job.job_id)
            self._work_on(job, stop)
        return True

    def _work_on(self, job: JobRecord, stop: threading.Event) -> None:
        registered = self._routed_pipeline(job)
        if registered is None:
            self._settle(lambda now: self._settlement.pipeline_changed(job, now), stop)
            return
        with Heartbeat(lambda: self._beat(job), every_s=self._settings.worker.heartbeat_s) as beat:
            done = attempt(
                job,
                registered,
                self._files,
                self._settings,
                lambda: priors_for(self._db, job.job_id),
            )
        if isinstance(done, Failure) and done.ends_worker:
            log.error("worker_unfit", reason_code=done.code)
            self._is_unfit = True
        if beat.is_lost:
            log.warning("result_abandoned")
        else:
            self._settle(lambda now: self._settlement.settle(job, done, now), stop)

    def _routed_pipeline(self, job: JobRecord) -> RegisteredPipeline | None:
        """Return the pipeline that routing chose; None when that version is not offered."""
        registered = self._registry.get(job.pipeline_name)
        if registered is None or registered.pipeline_digest != job.pipeline_digest:
            return None
        return registered

    def _beat(self, job: JobRecord) -> None:
        jobs.heartbeat(
            self._db,
            job.job_id,
            worker_id=self._worker_id,
            lease_s=self._settings.worker.lease_s,
            now=datetime.now(UTC),
        )

    def _settle(self, write: Callable[[datetime], None], stop: threading.Event) -> None:
        """Write the outcome, waiting for a database that is away as long as a lease lasts."""
        for _ in range(_SETTLE_ATTEMPTS):
            try:
                return write(datetime.now(UTC))
            except DatabaseUnavailable:
                log.warning("settlement_waits_for_database")
                stop.wait(self._settings.worker.lease_s / _SETTLE_ATTEMPTS)
            except (LeaseLost, IllegalTransition):
                log.warning("result_abandoned")
                return None
        # The lease runs out and the job is computed again, to the same results.
        log.error("settlement_given_up")
        return None
