from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import storage.late_rows
from storage.abandoned_receipts import Found, record_abandoned
from storage.associations import open_association
from storage.database import Database
from storage.dicom_records import StoreOutcome
from storage.errors import DatabaseUnavailable
from storage.instance_files import InstanceFiles
from storage.instances import record_instance
from storage.quarantine import quarantine_count
from storage.receipts import pages
from storage.studies import get_study, open_studies
from tests.unit.storage.kept_files import kept
from tests.unit.storage.receiving_node import ReceivingNode
from tests.unit.storage.samples import (
    NOW,
    PATIENT,
    STUDY,
    incoming,
    make_ready,
    paths,
)


def test_the_first_of_a_series_has_its_row_and_the_next_ones_have_receipts(
    node: ReceivingNode,
) -> None:
    for number in (1, 2, 3):
        node.record(number)
    assert node.numbers() == [1]
    assert len(pages(node.files.data_dir)) == 1
    node.recorder.write_late()
    assert node.numbers() == [1, 2, 3]
    assert not pages(node.files.data_dir)
    assert node.told == {"stored": 3}
    assert open_studies(node.db)[0].running_associations == 1


def test_rows_are_written_soon_when_nobody_asks(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 0.01)
    node.record(1)
    node.record(2)
    node.recorder.await_rows()
    node.record(3)
    while pages(node.files.data_dir):
        pass
    assert node.numbers() == [1, 2, 3]


def test_what_is_recorded_at_once_does_not_wait_for_rows_that_nobody_waits_for(
    node: ReceivingNode,
) -> None:
    node.record(1)
    node.record(2)
    other = replace(incoming().series, series_instance_uid="1.2.3.1.9")
    node.record(1, series=other, sop_instance_uid="1.2.3.1.9.1")
    assert node.numbers() == [1]
    node.recorder.write_late()
    assert node.numbers() == [1, 2]
    assert node.told == {"stored": 3}


def test_a_newer_version_that_is_recorded_at_once_comes_after_the_older_one(
    node: ReceivingNode,
) -> None:
    node.record(1)
    node.record(2)
    newer = kept(node.files, incoming(2, content="newer"))  # over no association of the study
    assert node.recorder.record(newer) is StoreOutcome.REPLACED
    assert node.numbers() == [1, 2]


def test_an_association_that_is_new_to_the_study_is_tied_to_it_first(node: ReceivingNode) -> None:
    node.record(1)
    second = open_association(
        node.db, calling_ae_title="PACS", called_ae_title="RADNODE", address="", now=NOW
    )
    node.record(2, association_id=second)
    assert open_studies(node.db)[0].running_associations == 2


def test_a_killed_process_loses_nothing_that_it_acknowledged(node: ReceivingNode) -> None:
    sent = [node.record(number) for number in range(1, 6)]
    # The process is gone with its queue; its locks are, too.
    with node.recorder._lock:
        node.recorder._queue.clear()
    assert node.recorder._late is not None
    node.recorder._late.close()
    assert node.numbers() == [1]
    assert record_abandoned(node.db, node.files) == Found(recorded=4)
    assert paths(node.db) == [one.path for one in sent]
    node.recorder._late = None


def test_the_same_again_is_told_as_a_duplicate_and_its_file_goes(node: ReceivingNode) -> None:
    first = [node.record(number) for number in (1, 2)]
    again = node.record(2)
    node.recorder.write_late()
    assert node.told == {"stored": 2, "duplicate": 1}
    assert paths(node.db) == [one.path for one in first]
    assert not node.files.absolute(again.path).exists()


def test_of_two_versions_the_one_that_came_last_is_kept(node: ReceivingNode) -> None:
    node.record(1)
    node.record(2, "older")
    last = node.record(2, "newer")
    node.recorder.write_late()
    assert paths(node.db)[-1] == last.path
    assert node.told == {"stored": 2, "replaced": 1}
    assert get_study(node.db, STUDY).header.patient == PATIENT


def test_a_study_that_became_complete_meanwhile_is_opened_again(node: ReceivingNode) -> None:
    node.record(1)
    node.record(2)
    make_ready(node.db)
    node.recorder.write_late()
    assert get_study(node.db, STUDY).generation == 2
    assert node.numbers() == [1, 2]


def test_a_contradiction_that_came_to_light_later_is_kept_aside(node: ReceivingNode) -> None:
    node.record(1)
    stranger = node.record(2)
    # Another process has the same instance in another study by now.
    elsewhere = incoming(2, study="1.2.9", series="1.2.9.1")
    record_instance(node.db, elsewhere._replace(sop_instance_uid=stranger.sop_instance_uid))
    node.recorder.write_late()
    assert node.told == {"stored": 1, "quarantined": 1}
    assert quarantine_count(node.db) == 1
    assert not pages(node.files.data_dir)


def test_an_older_version_that_had_to_wait_does_not_replace_a_newer_one(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    node.record(2, "older")
    with monkeypatch.context() as patch:
        away = DatabaseUnavailable("the database is away")
        patch.setattr(
            "storage.instance_recorder.record_instances", lambda _, all_, *__: [away] * len(all_)
        )
        node.recorder.write_late()
    newer = kept(node.files, incoming(2, content="newer", association_id=node.association_id))
    assert node.recorder.record(newer, node.tell) is StoreOutcome.REPLACED
    node.recorder.write_late()
    assert paths(node.db)[-1] == newer.path


def test_no_receipt_is_given_when_none_can_be_written(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.receipts.Page.write", full)
    node.record(2)
    assert node.numbers() == [1, 2]
    assert not pages(node.files.data_dir)


def test_only_so_many_wait(node: ReceivingNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.late_rows, "MOST_QUEUED", 3)
    for number in range(1, 6):
        node.record(number)
    assert len(node.numbers()) == 5


def test_many_threads_lose_nothing_and_each_outcome_is_told_once(
    db: Database, files: InstanceFiles
) -> None:
    node = ReceivingNode(db, files)
    node.record(1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(node.send, [number // 2 + 2 for number in range(80)]))
    node.recorder.close()
    assert node.numbers() == list(range(1, 42))
    assert node.told == {"stored": 41, "duplicate": 40}
    assert not pages(files.data_dir)
    assert sum(path.is_file() for path in files.data_dir.rglob("*.dcm")) == 41


def test_a_closed_recorder_acknowledges_nothing_by_a_receipt(node: ReceivingNode) -> None:
    node.record(1)
    node.recorder.close()
    node.record(2)
    assert node.numbers() == [1, 2]
    assert not pages(node.files.data_dir)


def test_where_no_thread_can_be_started_rows_come_first(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    node.record(1)
    monkeypatch.setattr("threading.Thread.start", none_left)
    node.record(2)
    assert node.numbers() == [1, 2]
    assert not pages(node.files.data_dir)
