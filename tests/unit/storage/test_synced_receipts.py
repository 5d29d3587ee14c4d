"""Acknowledged by a receipt, and safe from a power cut: what is on the disk when."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import storage.late_rows
from storage.abandoned_receipts import Found, record_abandoned
from storage.associations import open_association
from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series, record_instances
from storage.receipts import Receipts, pages, paths_in_receipts
from storage.synced_pages import SyncedPages
from tests.unit.storage.kept_files import kept
from tests.unit.storage.samples import NOW, SERIES, incoming, receive
from tests.unit.storage.test_synced_pages import failing


@pytest.fixture
def recorder(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InstanceRecorder]:
    """Rows wait until somebody asks for them."""
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 600.0)
    recorder = InstanceRecorder(db, files, Receipts(files.data_dir, SyncedPages))
    yield recorder
    recorder.close()


def _left(files: InstanceFiles, one: IncomingInstance) -> IncomingInstance:
    """The same instance, with a file that lies where it came in."""
    with files.open_incoming() as part:
        part.write(b"x" * 100)
        uids = (one.study.study_instance_uid, one.series.series_instance_uid)
        place = part.leave(*uids, one.sop_instance_uid)
    return one._replace(path=place)


def _begun(db: Database, files: InstanceFiles, recorder: InstanceRecorder) -> int:
    """Record the first instance of a series, and return the association that brought it."""
    association_id = open_association(
        db, calling_ae_title="PACS", called_ae_title="RADNODE", address="", now=NOW
    )
    first = kept(files, incoming(1, association_id=association_id))
    assert recorder.record(first) is StoreOutcome.STORED
    return association_id


def _numbers(db: Database) -> list[int | None]:
    return [one.instance_number for one in instances_of_series(db, SERIES)]


def _note(patch: pytest.MonkeyPatch, name: str, data_dir: Path, seen: list[str]) -> None:
    """Note each call with a descriptor of a file of ours."""
    call = getattr(os, name)

    def noted(descriptor: int, *others: object) -> object:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_relative_to(data_dir):
            seen.append(f"{name} {path.suffix if path.is_file() else path.name}")
        return call(descriptor, *others)

    patch.setattr(os, name, noted)


def test_before_the_answer_file_entry_and_receipt_and_after_it_entry_and_row_before_the_blanks(
    db: Database,
    files: InstanceFiles,
    recorder: InstanceRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    association_id = _begun(db, files, recorder)
    warm_up = _left(files, incoming(2, association_id=association_id))
    assert recorder.acknowledged(warm_up) is not None
    recorder.write_late()

    seen: list[str] = []

    def recorded(*given: Any) -> Any:
        seen.append("rows")
        return record_instances(*given)

    monkeypatch.setattr("storage.instance_recorder.record_instances", recorded)
    for name in ("fsync", "fdatasync", "pwrite"):
        _note(monkeypatch, name, files.data_dir, seen)
    one = _left(files, incoming(3, association_id=association_id))
    assert recorder.acknowledged(one) is not None
    before = ["fsync .part", "fsync incoming", "pwrite .receipts", "fdatasync .receipts"]
    assert seen == before
    recorder.write_late()
    assert seen[len(before) :] == [f"fsync {SERIES}", "rows", "pwrite .receipts"]
    assert _numbers(db) == [1, 2, 3]


def test_of_a_file_at_its_place_the_row_comes_first(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    association_id = _begun(db, files, recorder)
    second = kept(files, incoming(2, association_id=association_id))
    assert recorder.record(second) is StoreOutcome.STORED
    assert _numbers(db) == [1, 2]


def test_where_the_receipt_cannot_be_synced_the_row_comes_first(
    db: Database,
    files: InstanceFiles,
    recorder: InstanceRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    association_id = _begun(db, files, recorder)
    second, third = (incoming(number, association_id=association_id) for number in (2, 3))
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", failing(errno.EIO))
        second = _left(files, second)
        assert recorder.expects(second)
        assert recorder.acknowledged(second) is None
    files.bring_in_or_drop(second.path)
    assert recorder.record(second) is StoreOutcome.STORED
    assert _numbers(db) == [1, 2]
    assert recorder.acknowledged(_left(files, third)) is not None


def test_threads_that_share_a_page_lose_no_receipt(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    association_id = _begun(db, files, recorder)
    refused: list[IncomingInstance] = []

    def send(first: int) -> None:
        for number in range(first, first + 12):
            one = _left(files, incoming(number, association_id=association_id))
            if recorder.acknowledged(one) is None:
                refused.append(one)

    threads = [threading.Thread(target=send, args=(first,)) for first in (10, 30, 50, 70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused
    assert len(paths_in_receipts(files.data_dir)) == 48
    recorder.write_late()
    assert len(_numbers(db)) == 49
    assert not paths_in_receipts(files.data_dir)


def test_what_is_brought_in_after_a_power_cut_is_on_the_disk_before_its_receipt_goes(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Receipts(files.data_dir, SyncedPages)
    receive(db, kept(files, incoming(1)))
    left = _left(files, incoming(2))
    page = receipts.add(left)
    receipts.came_back(page)
    receipts.close()
    synced: list[str] = []
    sync = InstanceFiles.sync_folders

    def noted(own: InstanceFiles, places: Iterator[str]) -> None:
        assert files.absolute(left.path).exists()
        assert _numbers(db) == [1]
        synced.extend(given := list(places))
        sync(own, given)

    monkeypatch.setattr(InstanceFiles, "sync_folders", noted)
    assert record_abandoned(db, files) == Found(recorded=1)
    assert synced == [left.path]
    assert not pages(files.data_dir)
