from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from config.settings import (
    FolderDestination,
    NodeSettings,
    ReceiveSettings,
    Settings,
    StorageSettings,
)
from node.sweeps import Sweeps
from storage.audit import list_audit, record
from storage.database import Database
from storage.delivery_reads import list_deliveries, pending_destinations
from storage.event_records import AuditRecord
from storage.instance_files import InstanceFiles
from storage.jobs import get_job
from storage.records import DeliveryState, JobState
from storage.rejections import RejectionCount, add_rejections, list_rejections
from storage.studies import list_studies
from tests.peers.certificates import age, make_site
from tests.unit.storage.samples import (
    claim,
    claim_delivery,
    make_deliveries,
    make_job,
    new_job,
    receive,
)

HOUR_S = 3600.0


def _sweeps(db: Database, files: InstanceFiles, **storage: float) -> Sweeps:
    settings = Settings(
        node=NodeSettings(data_dir=files.data_dir),
        storage=StorageSettings.model_validate(storage),
        destinations=(FolderDestination(type="folder", name="ehr"),),
    )
    return Sweeps(settings, db, files, worker_id="radnode/1")


def test_jobs_and_deliveries_whose_lease_is_over_are_returned(
    db: Database, files: InstanceFiles
) -> None:
    make_deliveries(db, "ehr")
    claim_delivery(db, "ehr")
    job_id = make_job(db, new_job(study="1.2.3.2"))
    claim(db)

    _sweeps(db, files).return_expired_leases()

    assert get_job(db, job_id).state is JobState.QUEUED
    assert [one.state for one in list_deliveries(db)] == [DeliveryState.PENDING]


def test_old_half_received_files_go_and_young_ones_stay(db: Database, files: InstanceFiles) -> None:
    old, young = files.incoming_dir / "old.part", files.incoming_dir / "young.part"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 2 * HOUR_S,) * 2)

    _sweeps(db, files, incoming_max_age_s=HOUR_S).sweep_incoming()

    assert list(files.incoming_dir.iterdir()) == [young]


def test_files_without_a_row_go_once_they_are_old(db: Database, files: InstanceFiles) -> None:
    receive(db)
    with files.open_incoming() as part:
        part.write(b"x")
        path = files.absolute(part.keep("1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.9"))

    _sweeps(db, files, incoming_max_age_s=HOUR_S).sweep_orphaned_files()
    assert path.exists()

    while time.time() < path.stat().st_ctime + 0.002:
        pass
    _sweeps(db, files, incoming_max_age_s=0.001).sweep_orphaned_files()
    assert not path.exists()


def test_old_studies_go_once_all_is_settled(db: Database, files: InstanceFiles) -> None:
    job_id = make_job(db)
    sweeps = _sweeps(db, files, retention_days=1)

    sweeps.purge_old_studies()
    assert len(list_studies(db, 10)) == 1

    from storage.jobs import refuse_job

    claim(db)
    refuse_job(
        db, job_id, worker_id="radnode/100", code="tilt", text="tilted", now=datetime.now(UTC)
    )
    sweeps.purge_old_studies()
    assert list_studies(db, 10) == ()


def test_a_low_disk_is_told_once_and_its_end_once(db: Database, tmp_path: Path) -> None:
    is_low = [False, True, True, False]

    class Disk(InstanceFiles):
        def is_low(self, limit_mib: int) -> bool:
            return is_low.pop(0)

    sweeps = _sweeps(db, Disk(tmp_path / "data"))
    with structlog.testing.capture_logs() as told:
        for _ in range(4):
            sweeps.watch_disk()

    assert [line["event"] for line in told] == ["disk_low", "disk_no_longer_low"]


def test_a_delivery_to_a_destination_that_is_gone_is_dead_and_says_so(
    db: Database, files: InstanceFiles
) -> None:
    make_deliveries(db, "old_ehr", "ehr")
    assert pending_destinations(db) == {"old_ehr", "ehr"}

    _sweeps(db, files).bury_unknown_destinations()

    states = {one.destination: (one.state, one.reason_code) for one in list_deliveries(db)}
    assert states == {
        "old_ehr": (DeliveryState.DEAD, "destination_unknown"),
        "ehr": (DeliveryState.PENDING, ""),
    }


@pytest.mark.parametrize("limit_mib", [0, 10**9])
def test_the_real_disk_can_be_asked(db: Database, files: InstanceFiles, limit_mib: int) -> None:
    with structlog.testing.capture_logs() as told:
        _sweeps(db, files, disk_low_mib=limit_mib).watch_disk()

    assert bool(told) is bool(limit_mib)


def test_the_audit_trail_and_the_counts_of_rejections_are_pruned_by_age(
    db: Database, files: InstanceFiles
) -> None:
    now = datetime.now(UTC)
    for at in (now - timedelta(days=40), now - timedelta(days=20)):
        record(db, AuditRecord(at, "application_start", "success", "RADNODE", {}))
        add_rejections(db, [RejectionCount("reason", f"A{at:%d}", "10.0.0.1", 1, at, at)])

    _sweeps(db, files, audit_retention_days=30).prune_audit_trail()

    assert len(list_audit(db, 10)) == len(list_rejections(db, 10)) == 1


def test_a_certificate_that_ends_soon_is_logged_with_its_setting(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site")
    age(site.node.certificate_file, tmp_path / "site", days_left=5)
    receive = ReceiveSettings(tls=site.server())
    settings = Settings(node=NodeSettings(data_dir=files.data_dir), receive=receive)
    with structlog.testing.capture_logs() as lines:
        Sweeps(settings, db, files, worker_id="radnode/1").watch_certificates()

    (line,) = lines
    assert line["event"] == "certificate_expires"
    assert line["log_level"] == "warning"
    assert (line["setting"], line["days_left"]) == ("receive.tls.certificate_file", 5)
