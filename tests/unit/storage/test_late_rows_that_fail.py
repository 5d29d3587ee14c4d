from __future__ import annotations

import pytest

import storage.late_rows
from storage.database import Database, open_database
from storage.dicom_records import IncomingInstance
from storage.errors import DatabaseUnavailable, StorageError
from storage.instance_files import InstanceFiles
from storage.instances import record_instance, record_instances
from storage.migrate import migrate
from storage.quarantine import quarantine_count
from storage.receipts import pages
from tests.peers.postgres import PostgresServer
from tests.unit.storage.kept_files import kept, undigested, written
from tests.unit.storage.receiving_node import ReceivingNode
from tests.unit.storage.samples import (
    digest_of,
    incoming,
    paths,
)


def test_a_row_that_cannot_be_written_is_tried_again_and_senders_hear_of_it(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    acknowledged = node.record(2)
    with monkeypatch.context() as patch:

        def away(_db: Database, batch: list[IncomingInstance], *_: object) -> list[StorageError]:
            return [DatabaseUnavailable("the database is away") for _ in batch]

        patch.setattr("storage.instance_recorder.record_instances", away)
        node.recorder.write_late()
        with pytest.raises(DatabaseUnavailable):
            node.record(3)
    assert node.files.absolute(acknowledged.path).exists()
    assert len(pages(node.files.data_dir)) == 1
    node.recorder.write_late()
    assert node.numbers() == [1, 2]
    node.record(3)
    assert node.numbers() == [1, 2]
    assert len(pages(node.files.data_dir)) == 1


def test_a_commit_whose_answer_was_lost_does_not_cost_the_file(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    acknowledged = node.record(2)
    with monkeypatch.context() as patch:

        def cut_off(db: Database, batch: list[IncomingInstance], *_: object) -> list[StorageError]:
            record_instances(db, batch)
            return [DatabaseUnavailable("the connection broke") for _ in batch]

        patch.setattr("storage.instance_recorder.record_instances", cut_off)
        node.recorder.write_late()
    node.recorder.write_late()
    assert paths(node.db)[-1] == acknowledged.path
    assert node.files.absolute(acknowledged.path).exists()
    assert not pages(node.files.data_dir)


def test_an_unexpected_error_costs_no_late_row(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    node.record(2)
    with monkeypatch.context() as patch:
        patch.setattr("storage.instance_recorder.record_instances", lambda *_: 1 / 0)
        with pytest.raises(StorageError, match="a late row was not written"):
            node.recorder.write_late()
        node.recorder.write_late()  # told once
    node.recorder.write_late()
    assert node.numbers() == [1, 2]


@pytest.mark.peer("postgresql")
def test_late_rows_come_when_postgresql_is_back(files: InstanceFiles) -> None:
    with PostgresServer() as server:
        db = open_database(server.new_database())
        migrate(db)
        node = ReceivingNode(db, files)
        node.record(1)
        server.stop()
        node.record(2)
        node.recorder.write_late()
        with pytest.raises(DatabaseUnavailable):
            node.record(3)
        server.restart()
        node.recorder.write_late()
        assert node.numbers() == [1, 2]
        node.recorder.close()
        db.close()


def test_a_contradiction_is_not_lost_when_the_database_goes_away_in_between(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    stranger = node.record(2)
    elsewhere = incoming(2, study="1.2.9", series="1.2.9.1")
    record_instance(node.db, elsewhere._replace(sop_instance_uid=stranger.sop_instance_uid))
    with monkeypatch.context() as patch:
        away = DatabaseUnavailable("the database is away")
        patch.setattr("storage.quarantine.insert_new", lambda *_: (_ for _ in ()).throw(away))
        node.recorder.write_late()
    assert node.files.absolute(stranger.path).exists()
    assert pages(node.files.data_dir)
    node.recorder.write_late()
    assert quarantine_count(node.db) == 1
    assert not node.files.absolute(stranger.path).exists()
    assert not pages(node.files.data_dir)


def test_more_rows_than_one_batch_holds_and_an_unexpected_error_leave_the_lead_free(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.late_rows, "MOST_QUEUED", 200)
    for number in range(1, 151):
        node.record(number)
    with monkeypatch.context() as patch:
        patch.setattr("storage.instance_recorder.record_instances", lambda *_: 1 / 0)
        with pytest.raises(StorageError):
            node.recorder.record(kept(node.files, incoming(1, study="1.2.8", series="1.2.8.1")))
        with pytest.raises(StorageError, match="ZeroDivisionError"):
            node.recorder.write_late()
        assert node.numbers() == [1]
    node.recorder.write_late()
    assert node.numbers() == list(range(1, 151))
    assert node.told == {"stored": 150}


def test_an_error_while_a_row_is_seen_to_leaves_the_lead_free_and_the_row_owed(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    node.record(2)
    with monkeypatch.context() as patch:
        patch.setattr("storage.late_rows.settled", lambda *_: 1 / 0)
        with pytest.raises(StorageError, match="ZeroDivisionError"):
            node.recorder.write_late()
    assert node.told == {"stored": 1}
    node.recorder.write_late()
    assert node.numbers() == [1, 2]
    assert not pages(node.files.data_dir)


def test_a_late_repeat_whose_file_is_gone_holds_nobody_back(node: ReceivingNode) -> None:
    node.record(1)
    late = incoming(2, association_id=node.association_id)
    late = undigested(node.files, late, b"same")
    row = node.recorder.acknowledged(late)
    assert row is not None
    row.dataset_digest = digest_of(b"same")
    twin = incoming(2)._replace(dataset_digest=digest_of(b"same"))
    record_instance(node.db, written(node.files, twin, b"same"))
    node.files.absolute(late.path).unlink()

    with pytest.raises(StorageError, match="ENOENT"):
        node.recorder.write_late()

    node.record(3)  # and the series is known again
    following = kept(node.files, incoming(4, association_id=node.association_id))
    assert node.recorder.acknowledged(following) is not None
    node.recorder.write_late()
    assert node.numbers() == [1, 2, 3, 4]
