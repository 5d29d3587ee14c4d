from __future__ import annotations

from node.recovery import recover, take_back_jobs
from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.instance_files import InstanceFiles
from storage.jobs import get_job
from storage.receipts import Receipts
from storage.records import DeliveryState, JobState
from tests.unit.storage.kept_files import kept
from tests.unit.storage.samples import (
    claim,
    claim_delivery,
    incoming,
    make_deliveries,
    make_job,
    new_job,
    paths,
    receive,
)


def test_a_new_start_takes_back_what_the_killed_process_held_without_waiting(
    db: Database, files: InstanceFiles
) -> None:
    make_deliveries(db, "pacs")
    claim_delivery(db, worker_id="radnode/12")
    job_id = make_job(db, new_job(study="1.2.3.2"))
    claim(db, worker_id="radnode/11")

    recover(db, files, "radnode")

    assert get_job(db, job_id).state is JobState.QUEUED
    assert [one.state for one in list_deliveries(db)] == [DeliveryState.PENDING]


def test_a_new_start_deletes_what_the_killed_process_had_received_but_not_acknowledged(
    db: Database, files: InstanceFiles
) -> None:
    receive(db)
    with files.open_incoming() as part:
        part.write(b"x")
        part.keep("1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.9")
    (files.incoming_dir / "half.part").write_bytes(b"x")

    recover(db, files, "radnode")

    assert [path for path in files.data_dir.rglob("*") if path.suffix in (".dcm", ".part")] == []


def test_a_new_start_writes_the_rows_that_the_killed_process_owed(
    db: Database, files: InstanceFiles
) -> None:
    receive(db)
    acknowledged = kept(files, incoming(2))
    book = Receipts(files.data_dir)
    book.add(acknowledged)
    book.close()

    recover(db, files, "radnode")

    assert paths(db)[-1] == acknowledged.path
    assert files.absolute(acknowledged.path).exists()


def test_what_another_node_holds_stays_there(db: Database) -> None:
    job_id = make_job(db)
    claim(db, worker_id="radnode2/11")

    assert take_back_jobs(db, "radnode") == ()
    assert get_job(db, job_id).state is JobState.RUNNING


def test_a_worker_that_was_asked_to_stop_costs_its_job_no_attempt(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=1))
    claim(db, worker_id="radnode/11")

    assert take_back_jobs(db, "radnode", is_attempt=False) == (job_id,)

    job = get_job(db, job_id)
    assert (job.state, job.attempts, job.worker_id) == (JobState.QUEUED, 0, None)


def test_a_worker_that_died_costs_its_job_the_attempt(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=1))
    claim(db, worker_id="radnode/11")

    take_back_jobs(db, "radnode")

    job = get_job(db, job_id)
    assert (job.state, job.reason_code) == (JobState.FAILED, "worker_lost")
