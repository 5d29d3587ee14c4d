from __future__ import annotations

import os
from dataclasses import replace

import pytest
from sqlalchemy import select

from storage.database import Database
from storage.dicom_tables import QuarantinedInstance
from storage.errors import DatabaseUnavailable, StorageError
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import record_instance
from storage.receipts import pages
from tests.unit.storage.kept_files import kept, undigested
from tests.unit.storage.receiving_node import ReceivingNode
from tests.unit.storage.samples import (
    SERIES,
    digest_of,
    incoming,
)


def test_the_digest_is_what_the_row_was_told_or_else_that_of_the_file(node: ReceivingNode) -> None:
    node.record(1)
    node.acknowledge(2).dataset_digest = digest_of(b"as told")
    node.acknowledge(3, b"as in the file")
    node.recorder.write_late()
    assert node.digests()[1:] == [digest_of(b"as told"), digest_of(b"as in the file")]
    assert node.told == {"stored": 3}


def test_without_receipts_nothing_is_acknowledged_early(db: Database, files: InstanceFiles) -> None:
    assert InstanceRecorder(db, files).acknowledged(undigested(files, incoming(1))) is None


def test_one_whose_file_is_not_whole_holds_no_other_and_is_owed(node: ReceivingNode) -> None:
    node.record(1)
    cut, whole = node.acknowledge(2), node.acknowledge(3)
    os.truncate(node.files.absolute(cut.incoming.path), 5)
    with pytest.raises(StorageError, match="has 5 bytes instead of"):
        node.recorder.write_late()
    assert node.numbers() == [1, 3]
    node.acknowledge(4).dataset_digest = digest_of(b"data set")
    assert whole.incoming.dataset_digest == digest_of(b"data set")
    cut.dataset_digest = digest_of(b"data set")
    node.recorder.write_late()
    assert node.numbers() == [1, 2, 3, 4]
    assert not pages(node.files.data_dir)


def test_one_whose_file_could_not_be_read_is_tried_again_with_what_is_recorded_next(
    node: ReceivingNode,
) -> None:
    node.record(1)
    cut = node.acknowledge(2)
    os.truncate(node.files.absolute(cut.incoming.path), 5)
    with pytest.raises(StorageError, match="has 5 bytes instead of"):
        node.recorder.write_late()
    cut.dataset_digest = digest_of(b"data set")
    other = replace(incoming().series, series_instance_uid=f"{SERIES}.9")
    node.record(1, series=other, sop_instance_uid=f"{SERIES}.9.1")
    assert node.numbers() == [1, 2]


def test_after_an_outage_a_file_that_is_not_whole_keeps_no_other_from_its_receipt(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    cut = node.acknowledge(2)
    os.truncate(node.files.absolute(cut.incoming.path), 5)
    with pytest.raises(StorageError, match="has 5 bytes instead of"):
        node.recorder.write_late()
    node.acknowledge(3)
    with monkeypatch.context() as patch:
        away = DatabaseUnavailable("the database is away")
        patch.setattr(
            "storage.instance_recorder.record_instances", lambda _, all_, *__: [away] * len(all_)
        )
        node.recorder.write_late()
        refused = kept(node.files, incoming(4, association_id=node.association_id))
        assert node.recorder.acknowledged(refused, node.tell) is None
    node.recorder.write_late()
    assert node.numbers() == [1, 3]
    node.acknowledge(5)


def test_a_contradiction_that_shows_late_is_kept_aside_with_its_digest(
    node: ReceivingNode, db: Database
) -> None:
    node.record(1)
    stranger = node.acknowledge(2)
    other = incoming(2, study="1.2.3.9", series="1.2.3.9.1")
    record_instance(db, kept(node.files, other._replace(sop_instance_uid=f"{SERIES}.2")))
    node.recorder.write_late()
    assert node.told == {"stored": 1, "quarantined": 1}
    with db.read() as session:
        (aside,) = session.scalars(select(QuarantinedInstance.dataset_digest))
    assert aside == stranger.incoming.dataset_digest == digest_of(b"data set")
