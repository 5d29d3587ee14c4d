"""`radnode serve`: all parts of a node in one process, and its worker in a second one.

The listener starts first, since a taken port is what most often keeps a node from starting, and
stops first, so that nothing more comes in. What the parts hand to each other lies in storage, so
their order is of no other consequence.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from config.settings import DicomDestination, Settings
from node.assembly import Assembly
from node.attempt import software_version
from node.audit_trail import AuditEvent, note
from node.commitment_reports import CommitmentReports, reported_sender
from node.completeness import Completeness
from node.confirmation import CommitmentResults, Confirmation
from node.data_directory import PORT_FILE, kept_data, make_private, sole_user
from node.delivery import DeliveryLoop
from node.dispatch import sender_for
from node.offered_pipelines import offered_pipelines
from node.outbox import Outbox
from node.pacs_query import ask_pacs
from node.quiet_clock import Moment
from node.receive.availability_service import AvailabilityService
from node.receive.commitment_service import CommitmentService
from node.receive.listener import Listener
from node.receive.performed_step_service import PerformedStepService
from node.receive.services import Service as DimseService
from node.recovery import recover, take_back_jobs, worker_prefix
from node.repeated_round import RepeatedRound
from node.routing import route_ready_studies
from node.scheduler import NodeScheduler
from node.slice_coverage import SliceCoverage
from node.stop_signals import stop_signals
from node.supervisor import Supervisor, worker_command
from node.sweeps import Sweeps
from pipelines.registry import Registry
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles, durable_write
from storage.migrate import migrate

GRACE_S = 5.0
"""How long a job or delivery in hand may take to end before it goes back to its queue."""

_REPORTS_S = 0.5
_CONFIRM_S = 0.5
_LEASE_SWEEP_S = 10.0
_HOUSEKEEPING_S = 60.0
_PURGE_S = 3600.0
_DAILY_S = 86_400.0

log = structlog.get_logger()


def serve(settings: Settings, config_path: Path | None) -> None:
    """Run a node until SIGTERM or SIGINT.

    Raises:
        CannotStart: the data directory cannot be used, or another node uses it.
        ListenerFailed: the port is taken.
        PipelineError: a pipeline's definition or bundle is invalid.
        StorageError: the database cannot be used.
    """
    data_dir = settings.node.data_dir
    make_private(data_dir)
    with stop_signals() as arrived, sole_user(data_dir), kept_data(settings) as db:
        log.info("schema_ready", revision=migrate(db))
        recover(db, InstanceFiles(data_dir), settings.node.name)
        with running(Service(settings, config_path, db, offered_pipelines(settings))):
            log.info("stopping", signal=arrived.wait())
    log.info("stopped")


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """Start all parts, and stop them at the end, also when only some could start."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


class Service:
    """The parts of one node, wired to each other."""

    def __init__(
        self, settings: Settings, config_path: Path | None, db: Database, registry: Registry
    ) -> None:
        self._settings = settings
        self._db = db
        self._registry = registry
        self._files = InstanceFiles(settings.node.data_dir)
        self._worker_id = f"{worker_prefix(settings.node.name)}{os.getpid()}"
        self._assembly = Assembly(self._assemble, interval_s=settings.completeness.check_interval_s)
        self._completeness = Completeness(
            settings,
            db,
            ask_pacs,
            on_answer=self._assembly.wake,
            covered_pipeline=SliceCoverage(db, self._files, registry).covered_pipeline,
        )
        self._scheduler = NodeScheduler()
        self._confirmations = self._rounds()
        self._outbox = Outbox(self._delivery_loops(), db, worker_id=self._worker_id)
        self._supervisor = Supervisor(worker_command(config_path), on_death=self._take_back)
        self._listener = Listener(
            settings, db, self._files, self._assembly.wake, services=self._services()
        )

    def start(self) -> None:
        """Start every part; the node answers from the end of this call on.

        Raises `ListenerFailed` when the port is taken.
        """
        self._note(AuditEvent.APPLICATION_START)
        self._port_file.unlink(missing_ok=True)
        port = self._listener.start()
        self._outbox.start()
        for each in self._confirmations:
            each.start()
        if self._settings.worker.enabled:
            self._supervisor.start()
        self._schedule()
        self._scheduler.start()
        self._assembly.start()
        if self._settings.receive.port == 0:
            durable_write(self._port_file, f"{port}\n".encode())
        log.info("ready", port=port, destinations=[d.name for d in self._settings.destinations])

    def stop(self) -> None:
        """Stop every part; may be called after a half start.

        It takes about ten seconds at most, and longer only while a PACS does not answer a C-FIND;
        by then nothing is left to lose.
        """
        until = time.monotonic() + GRACE_S
        self._supervisor.ask_to_stop()
        self._outbox.ask_to_stop()
        for each in self._confirmations:
            each.ask_to_stop()
        self._listener.stop()
        self._assembly.stop()
        self._scheduler.stop()
        self._outbox.stop(until - time.monotonic())
        for each in self._confirmations:
            each.stop(until - time.monotonic())
        self._stop_worker(until - time.monotonic())
        self._port_file.unlink(missing_ok=True)
        self._note(AuditEvent.APPLICATION_STOP)
        self._completeness.close()

    def _stop_worker(self, grace_s: float) -> None:
        if not self._supervisor.stop(grace_s):
            log.warning("worker_killed")
        self._take_back(is_attempt=False)

    @property
    def _port_file(self) -> Path:
        return self._settings.node.data_dir / PORT_FILE

    def _delivery_loops(self) -> list[DeliveryLoop]:
        node = self._settings.node
        return [
            DeliveryLoop(d, sender_for(d, node, self._files), self._db, worker_id=self._worker_id)
            for d in self._settings.destinations
        ]

    def _services(self) -> tuple[DimseService, ...]:
        wake = self._assembly.wake
        return (
            CommitmentService(
                self._db,
                wake,
                CommitmentResults(self._settings, self._db, worker_id=self._worker_id).take,
                lambda ae_title: reported_sender(self._settings, ae_title) is not None,
            ),
            AvailabilityService(self._db, wake),
            PerformedStepService(self._db, wake),
        )

    def _rounds(self) -> list[RepeatedRound]:
        """Return the threads that ask PACS for confirmation, and that answer their requests."""
        reports = CommitmentReports(self._settings, self._db, self._files)
        rounds = [RepeatedRound("commitment-reports", reports.report_due, every_s=_REPORTS_S)]
        for destination in self._settings.destinations:
            if isinstance(destination, DicomDestination) and destination.confirm != "none":
                asking = Confirmation(
                    destination, self._settings, self._db, worker_id=self._worker_id
                )
                rounds.append(RepeatedRound("confirmation", asking.ask_next, every_s=_CONFIRM_S))
        return rounds

    def _schedule(self) -> None:
        sweeps = Sweeps(self._settings, self._db, self._files, worker_id=self._worker_id)
        every = self._scheduler.every
        every(_LEASE_SWEEP_S, "expired_leases", sweeps.return_expired_leases)
        every(_HOUSEKEEPING_S, "incoming_sweep", sweeps.sweep_incoming)
        every(_DAILY_S, "orphaned_files", sweeps.sweep_orphaned_files)
        every(_HOUSEKEEPING_S, "disk_watch", sweeps.watch_disk)
        every(_HOUSEKEEPING_S, "unknown_destinations", sweeps.bury_unknown_destinations)
        every(_DAILY_S, "certificate_watch", sweeps.watch_certificates)
        if self._settings.storage.audit_retention_days:
            every(_DAILY_S, "audit_retention", sweeps.prune_audit_trail)
        if self._settings.storage.retention_days:
            every(_PURGE_S, "retention", sweeps.purge_old_studies)

    def _assemble(self) -> None:
        """Find studies complete, and route those that are."""
        self._completeness.check(Moment.now())
        made = route_ready_studies(
            self._db, self._files, self._registry, self._settings, now=datetime.now(UTC)
        )
        if made:
            self._supervisor.wake()

    def _take_back(self, *, is_attempt: bool = True) -> None:
        """The worker is dead: what it had in hand goes back to the queue at once."""
        name = self._settings.node.name
        try:
            for job_id in take_back_jobs(self._db, name, is_attempt=is_attempt):
                log.warning("job_returned", job_id=job_id)
        except StorageError as error:
            # The lease ends it, or the next start.
            log.warning("jobs_not_returned", error=type(error).__name__)

    def _note(self, event: AuditEvent) -> None:
        node = self._settings.node
        note(self._db, event, actor=node.ae_title, node=node.name, version=software_version())
