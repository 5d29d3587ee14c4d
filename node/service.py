"""`radnode serve`: all parts of a node in one process, but for the worker and the receivers.

The receivers start first, since a taken port is what most often keeps a node from starting, and
stop first, so that nothing more comes in. What the parts hand to each other lies in storage, so
their order is of no other consequence.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from config.settings import PacsDestination, Settings
from node.assembly import Assembly
from node.attempt import software_version
from node.audit_trail import AuditEvent, note
from node.chosen_ports import forget_ports, tell_receiving_ports
from node.commitment_reports import CommitmentReports
from node.confirmation import Confirmation
from node.data_directory import kept_data, make_private, sole_user
from node.delivery import DeliveryLoop
from node.dispatch import sender_for
from node.identity_check import IdentityCheck
from node.identity_recheck import EVERY_S, IdentityRecheck
from node.offered_pipelines import offered_pipelines
from node.outbox import Outbox
from node.receivers import Receivers
from node.recovery import recover, take_back_jobs, worker_prefix
from node.repeated_round import RepeatedRound
from node.scheduler import NodeScheduler
from node.stop_signals import stop_signals
from node.study_look import StudyLook
from node.supervisor import Supervisor, worker_command
from node.sweeps import Sweeps
from node.time_limits import TimeLimits
from pipelines.registry import Registry
from storage.database import Database
from storage.errors import DatabaseInUse, StorageError
from storage.instance_files import InstanceFiles
from storage.migrate import migrate
from storage.sole_node import SoleNode, sole_node

GRACE_S = 5.0
"""How long a job or delivery in hand may take to end before it goes back to its queue."""

RECEIVERS_GRACE_S = 8.0
"""How long receivers may take to end: associations first by themselves, then by an abort."""

_REPORTS_S = 0.5
_CONFIRM_S = 0.5
_TIME_LIMITS_S = 2.0
_LEASE_SWEEP_S = 10.0
_HOUSEKEEPING_S = 60.0
_PURGE_S = 3600.0
_DAILY_S = 86_400.0

if TYPE_CHECKING:
    from node.web.server import WebServer

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
    with (
        stop_signals() as arrived,
        sole_user(data_dir),
        kept_data(settings) as db,
        sole_node(db) as hold,
    ):
        log.info("schema_ready", revision=migrate(db))
        recover(db, InstanceFiles(data_dir), settings.node.name, settings.destinations)
        with running(Service(settings, config_path, db, offered_pipelines(settings), hold)):
            # What is there by now stays: each full collection would take a sixth of a second.
            gc.freeze()
            log.info("stopping", signal=arrived.wait())
    log.info("stopped")


def _web_server(settings: Settings) -> WebServer | None:
    """The server of the web port, where one is asked for."""
    if settings.web.port is None:
        return None
    from node.web.server import WebServer  # FastAPI takes half a second, and memory

    return WebServer(settings)


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
        self,
        settings: Settings,
        config_path: Path | None,
        db: Database,
        registry: Registry,
        hold: SoleNode,
    ) -> None:
        self._settings = settings
        self._data_dir = settings.node.data_dir
        self._db = db
        self._registry = registry
        self._hold = hold
        self._files = InstanceFiles(self._data_dir, settings.storage.durability)
        self._worker_id = f"{worker_prefix(settings.node.name)}{os.getpid()}"
        self._supervisor = Supervisor(
            worker_command(config_path), on_death=lambda _: self._take_back()
        )
        self._study_look = StudyLook(
            settings,
            db,
            self._files,
            registry,
            on_answer=lambda: self._assembly.wake(),
            on_jobs=self._supervisor.wake,
            kill_worker=self._supervisor.kill_child,
        )
        interval_s = settings.completeness.check_interval_s
        self._assembly = Assembly(self._study_look, interval_s=interval_s)
        self._scheduler = NodeScheduler()
        self._confirmations = self._rounds()
        self._outbox = Outbox(self._delivery_loops(), db, worker_id=self._worker_id)
        self._receivers = Receivers(settings, config_path, db, self._assembly.wake)
        self._web = _web_server(settings)

    def start(self) -> None:
        """Start every part; the node answers from the end of this call on.

        Raises `ListenerFailed` when the port is taken.
        """
        self._note(AuditEvent.APPLICATION_START)
        forget_ports(self._data_dir)
        sockets = self._receivers.start()
        if self._web is not None:
            self._web.start()
        self._outbox.start()
        for each in self._confirmations:
            each.start()
        if self._settings.worker.enabled:
            self._supervisor.start()
        self._schedule()
        self._scheduler.start()
        self._assembly.start()
        tell_receiving_ports(self._data_dir, self._settings.receive, sockets)
        log.info(
            "ready",
            port=sockets.port,
            tls_port=sockets.tls_port,
            destinations=[d.name for d in self._settings.destinations],
        )

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
        self._receivers.stop(RECEIVERS_GRACE_S)
        if self._web is not None:
            self._web.stop()
        self._assembly.stop()
        self._scheduler.stop()
        self._outbox.stop(until - time.monotonic())
        for each in self._confirmations:
            each.stop(until - time.monotonic())
        self._stop_worker(until - time.monotonic())
        forget_ports(self._data_dir)
        self._note(AuditEvent.APPLICATION_STOP)
        self._study_look.close()

    def _stop_worker(self, grace_s: float) -> None:
        if not self._supervisor.stop(grace_s):
            log.warning("worker_killed")
        self._take_back(is_attempt=False)

    def _delivery_loops(self) -> list[DeliveryLoop]:
        node, check = self._settings.node, IdentityCheck(self._settings, self._db)
        return [
            DeliveryLoop(
                d,
                sender_for(d, node, self._files),
                self._db,
                worker_id=self._worker_id,
                check=check,
            )
            for d in self._settings.destinations
        ]

    def _rounds(self) -> list[RepeatedRound]:
        """Return the threads that ask PACS for confirmation, and that answer their requests."""
        reports = CommitmentReports(self._settings, self._db, self._files)
        rounds = [RepeatedRound("commitment-reports", reports.report_due, every_s=_REPORTS_S)]
        for destination in self._settings.destinations:
            if isinstance(destination, PacsDestination) and destination.confirm != "none":
                asking = Confirmation(
                    destination, self._settings, self._db, worker_id=self._worker_id
                )
                rounds.append(RepeatedRound("confirmation", asking.ask_next, every_s=_CONFIRM_S))
        return rounds

    def _schedule(self) -> None:
        sweeps = Sweeps(self._settings, self._db, self._files, worker_id=self._worker_id)
        every = self._scheduler.every
        every(_LEASE_SWEEP_S, "database_hold", self._keep_hold)
        every(_TIME_LIMITS_S, "time_limits", self._time_limits().enforce)
        every(_LEASE_SWEEP_S, "expired_leases", sweeps.return_expired_leases)
        every(_LEASE_SWEEP_S, "lost_associations", self._receivers.settle)
        every(_HOUSEKEEPING_S, "incoming_sweep", sweeps.sweep_incoming)
        every(_DAILY_S, "orphaned_files", sweeps.sweep_orphaned_files)
        every(_HOUSEKEEPING_S, "disk_watch", sweeps.watch_disk)
        every(_HOUSEKEEPING_S, "unknown_destinations", sweeps.bury_unknown_destinations)
        every(_DAILY_S, "certificate_watch", sweeps.watch_certificates)
        every(EVERY_S, "identity_recheck", IdentityRecheck(self._settings, self._db).ask_due)
        if self._settings.storage.audit_retention_days:
            every(_DAILY_S, "audit_retention", sweeps.prune_audit_trail)
        if self._settings.storage.retention_days:
            every(_PURGE_S, "retention", sweeps.purge_old_studies)

    def _keep_hold(self) -> None:
        """Make sure that this is the database's only node, or stop as on SIGTERM."""
        try:
            self._hold.keep()
        except DatabaseInUse:
            log.critical("database_taken_over")
            os.kill(os.getpid(), signal.SIGTERM)

    def _time_limits(self) -> TimeLimits:
        return TimeLimits(
            self._settings,
            self._db,
            self._registry,
            worker_prefix=worker_prefix(self._settings.node.name),
            kill_worker=self._supervisor.kill_child,
        )

    def _take_back(self, *, is_attempt: bool = True) -> None:
        """The worker is dead: what it had in hand goes back to the queue at once."""
        name, told = self._settings.node.name, self._settings.destinations
        try:
            for job_id in take_back_jobs(self._db, name, told, is_attempt=is_attempt):
                log.warning("job_returned", job_id=job_id)
        except StorageError as error:
            # The lease ends it, or the next start.
            log.warning("jobs_not_returned", error=type(error).__name__)

    def _note(self, event: AuditEvent) -> None:
        node = self._settings.node
        note(self._db, event, actor=node.ae_title, node=node.name, version=software_version())
