"""Housekeeping: what dead processes left behind, what is old, and how full the disk is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from config.expiries import expiring_soon
from config.settings import Settings
from node.delivery_plan import plan_of
from storage import deliveries, delivery_reads, jobs, retention
from storage.audit import prune_audit
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.orphaned_files import sweep_orphans
from storage.quarantine import purge_quarantine
from storage.rejections import prune_rejections

log = structlog.get_logger()


class Sweeps:
    """The acts that the scheduler repeats; each may be run at any time and any number of times."""

    def __init__(
        self, settings: Settings, db: Database, files: InstanceFiles, *, worker_id: str
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._worker_id = worker_id
        self._was_low = False

    def return_expired_leases(self) -> None:
        """Give jobs and deliveries of workers that fell silent back to the queues."""
        now = datetime.now(UTC)
        plan = plan_of(self._settings.destinations, now)
        for job_id in jobs.return_expired(self._db, now=now, plan=plan):
            log.warning("job_lease_expired", job_id=job_id)
        for delivery_id in deliveries.return_expired_deliveries(self._db, now=now):
            log.warning("delivery_lease_expired", delivery_id=delivery_id)

    def sweep_incoming(self) -> None:
        """Delete half-received files that no running association can still be writing."""
        age = timedelta(seconds=self._settings.storage.incoming_max_age_s)
        swept = self._files.sweep_incoming(datetime.now(UTC) - age)
        if swept:
            log.info("incoming_swept", files=swept)

    def sweep_orphaned_files(self) -> None:
        """Delete kept files that never came into a row, and no longer can."""
        age = timedelta(seconds=self._settings.storage.incoming_max_age_s)
        swept = sweep_orphans(self._db, self._files, older_than=datetime.now(UTC) - age)
        if swept:
            log.warning("orphaned_files_swept", files=swept)

    def purge_old_studies(self) -> None:
        """Delete studies past the retention time whose jobs and deliveries are all settled."""
        age = timedelta(days=self._settings.storage.retention_days)
        older_than = datetime.now(UTC) - age
        purged = retention.purge(self._db, self._files, older_than=older_than)
        if purged:
            log.info("old_studies_purged", studies=purged)
        forgotten = purge_quarantine(self._db, self._files, older_than=older_than)
        if forgotten:
            log.warning("quarantine_purged", instances=forgotten)

    def prune_audit_trail(self) -> None:
        """Delete lines of the audit trail, and counts of rejections, past their retention."""
        older_than = datetime.now(UTC) - timedelta(days=self._settings.storage.audit_retention_days)
        pruned = prune_audit(self._db, older_than=older_than)
        prune_rejections(self._db, older_than=older_than)
        if pruned:
            log.info("audit_trail_pruned", entries=pruned)

    def watch_certificates(self) -> None:
        """Warn of certificates in use that end soon, or have ended."""
        now = datetime.now(UTC)
        for expiry in expiring_soon(self._settings, now):
            level = log.warning if expiry.not_after > now else log.error
            level("certificate_expires", setting=expiry.key, days_left=expiry.days_left(now))

    def watch_disk(self) -> None:
        """Say once that the disk runs low, and once that it does not any more."""
        limit_mib = self._settings.storage.disk_low_mib
        is_low = self._files.is_low(limit_mib)
        if is_low != self._was_low:
            level = log.error if is_low else log.info
            event = "disk_low" if is_low else "disk_no_longer_low"
            level(event, free_mib=self._files.free_mib(), limit_mib=limit_mib)
        self._was_low = is_low

    def bury_unknown_destinations(self) -> None:
        """Mark deliveries dead whose destination is no longer configured: a person must see it."""
        known = {destination.name for destination in self._settings.destinations}
        waiting = delivery_reads.pending_destinations(self._db)
        for name in sorted(set(waiting) - known):
            while self._bury_one(name):
                pass

    def _bury_one(self, destination: str) -> bool:
        now = datetime.now(UTC)
        delivery = deliveries.claim_next_delivery(
            self._db, destination=destination, worker_id=self._worker_id, lease_s=60, now=now
        )
        if delivery is None:
            return False
        deliveries.settle_dead(
            self._db,
            delivery.delivery_id,
            worker_id=self._worker_id,
            code="destination_unknown",
            text=f"no destination is called {destination}; configure it and retry the delivery",
            now=now,
        )
        log.error("delivery_dead", delivery_id=delivery.delivery_id, destination=destination)
        return True
