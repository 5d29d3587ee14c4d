from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

import storage.dicom_tables
import storage.job_tables  # noqa: F401
from storage.associations import end_association, open_association
from storage.database import Database
from storage.deliveries import settle_dead, settle_sent
from storage.dicom_records import StoreOutcome
from storage.instance_files import InstanceFiles
from storage.instances import record_instance
from storage.jobs import refuse_job
from storage.retention import purge
from storage.studies import list_studies
from storage.table_types import Table
from tests.unit.storage.samples import (
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    incoming,
    make_job,
    new_job,
    receive,
    to_destinations,
)

OLDER_THAN = after(3600)


def _keep(files: InstanceFiles, study: str = STUDY, *, received_at: datetime = NOW) -> Path:
    """A file of an instance, as old as its reception."""
    with files.open_incoming() as part:
        part.write(b"x")
        path = files.absolute(part.keep(study, f"{study}.1", f"{study}.1.1"))
    os.utime(path, (received_at.timestamp(), received_at.timestamp()))
    return path


def _rows(db: Database) -> dict[str, int]:
    with db.read() as session:
        counts = {
            table.name: session.scalar(select(func.count()).select_from(table))
            for table in Table.metadata.sorted_tables
        }
    return {name: count for name, count in counts.items() if count}


def _settled_study(db: Database, files: InstanceFiles, study: str = STUDY) -> None:
    job_id = make_job(db, new_job(study=study))
    claim(db)
    finish(db, job_id, deliveries=to_destinations("pacs"))
    delivery_id = claim_delivery(db).delivery_id
    settle_sent(db, delivery_id, worker_id=WORKER, confirmed=False, receipt={}, now=after(1))
    _keep(files, study)
    (files.results_dir(job_id) / "seg.dcm").write_bytes(b"seg")


def test_a_settled_study_goes_with_all_its_rows_and_files(
    db: Database, files: InstanceFiles
) -> None:
    association_id = open_association(
        db, calling_ae_title="PACS", called_ae_title="RADNODE", address="", now=NOW
    )
    receive(db, incoming(7, association_id=association_id))
    end_association(db, association_id, end="released", now=after(1))
    _settled_study(db, files)
    assert purge(db, files, older_than=OLDER_THAN) == 1
    assert _rows(db) == {}
    assert [path for path in files.data_dir.rglob("*") if path.is_file()] == []
    assert list((files.data_dir / "instances").iterdir()) == []
    assert list((files.data_dir / "results").iterdir()) == []


def test_a_younger_study_stays(db: Database, files: InstanceFiles) -> None:
    _settled_study(db, files)
    before = _rows(db)
    assert purge(db, files, older_than=NOW - timedelta(seconds=1)) == 0
    assert _rows(db) == before


def test_only_what_is_old_goes(db: Database, files: InstanceFiles) -> None:
    _settled_study(db, files)
    receive(db, incoming(study="1.2.9", series="1.2.9.1"))
    kept = _keep(files, "1.2.9")
    assert purge(db, files, older_than=OLDER_THAN) == 1
    assert [study.header.study_instance_uid for study in list_studies(db, 9)] == ["1.2.9"]
    assert kept.exists()


@pytest.mark.parametrize("stage", ["receiving", "queued", "running", "pending", "sending"])
def test_a_study_with_something_left_to_do_stays(
    db: Database, files: InstanceFiles, stage: str
) -> None:
    if stage == "receiving":
        receive(db)
    else:
        job_id = make_job(db)
    if stage in ("running", "pending", "sending"):
        claim(db)
    if stage in ("pending", "sending"):
        finish(db, job_id, deliveries=to_destinations("pacs"))
    if stage == "sending":
        claim_delivery(db)
    path = _keep(files)
    assert purge(db, files, older_than=OLDER_THAN) == 0
    assert path.exists()


def test_what_failed_for_good_is_settled(db: Database, files: InstanceFiles) -> None:
    job_id = make_job(db)
    claim(db)
    refuse_job(db, job_id, worker_id=WORKER, code="c", text="t", now=after(1))
    job_id = make_job(db, new_job(study="1.2.9"))
    claim(db)
    finish(db, job_id, deliveries=to_destinations("pacs"))
    delivery_id = claim_delivery(db).delivery_id
    settle_dead(db, delivery_id, worker_id=WORKER, code="c", text="t", now=after(1))
    assert purge(db, files, older_than=OLDER_THAN) == 2


def test_a_study_of_our_results_alone_goes_too(db: Database, files: InstanceFiles) -> None:
    receive(db, incoming(is_own_result=True))
    assert purge(db, files, older_than=OLDER_THAN) == 1
    assert _rows(db) == {}


def test_an_instance_that_is_just_coming_in_keeps_its_file(
    db: Database, files: InstanceFiles
) -> None:
    """Its file is there, its row is not yet: it must survive the purge of its own study."""
    _settled_study(db, files)
    coming = _keep(files, received_at=OLDER_THAN + timedelta(seconds=1))
    assert purge(db, files, older_than=OLDER_THAN) == 1
    assert coming.exists()
    assert record_instance(db, incoming()) is StoreOutcome.STORED
