"""Files that were acknowledged by a receipt, and lie in incoming/ until somebody moves them."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from node.receive.file_meta import file_head
from node.recovery import recover
from storage.abandoned_receipts import Found, record_abandoned
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.errors import OutOfSpace
from storage.incoming_file import IncomingFile
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.late_rows import LateRow
from storage.orphaned_files import sweep_orphans
from storage.receipts import Receipts, pages
from tests.unit.storage.kept_files import kept
from tests.unit.storage.receiving_node import ReceivingNode
from tests.unit.storage.samples import SERIES, digest_of, incoming, paths, receive

_HEAD = file_head(b"1.2.3", b"1.2.3.4", "1.2.840.10008.1.2.1")
_DATA_SET = b"data set"


def _left(files: InstanceFiles, one: IncomingInstance) -> IncomingInstance:
    """The same instance; its file is whole, and lies where it came in."""
    with files.open_incoming() as part:
        part.write(_HEAD + _DATA_SET)
        uids = (one.study.study_instance_uid, one.series.series_instance_uid)
        place = part.leave(*uids, one.sop_instance_uid)
    return one._replace(path=place, size_bytes=len(_HEAD + _DATA_SET), dataset_digest="")


def _acknowledge(node: ReceivingNode, number: int) -> LateRow:
    one = incoming(number, association_id=node.association_id)
    row = node.recorder.acknowledged(_left(node.files, one), node.tell)
    assert row is not None
    return row


def _abandon(files: InstanceFiles, *instances: IncomingInstance) -> None:
    book = Receipts(files.data_dir)
    for one in instances:
        book.add(one)
    book.close()


def _incoming(files: InstanceFiles) -> list[str]:
    return [path.name for path in files.incoming_dir.iterdir()]


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_a_row_brings_in_the_file_that_it_names(node: ReceivingNode) -> None:
    node.record(1)
    row = _acknowledge(node, 2)
    assert not node.files.absolute(row.incoming.path).exists()
    node.recorder.write_late()
    assert node.files.absolute(row.incoming.path).read_bytes() == _HEAD + _DATA_SET
    assert node.digests()[1] == digest_of(_DATA_SET)
    assert _incoming(node.files) == []
    assert not pages(node.files.data_dir)


def test_while_a_file_cannot_be_moved_no_more_is_acknowledged(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.record(1)
    left, moved = _acknowledge(node, 2), _acknowledge(node, 3)
    node.files.bring_in(moved.incoming.path)
    another = incoming(4, association_id=node.association_id)
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", _no_space)
        node.recorder.write_late()
        assert node.numbers() == [1, 3]
        assert len(_incoming(node.files)) == 1
        assert node.recorder.acknowledged(_left(node.files, another), node.tell) is None
    node.recorder.write_late()
    assert node.numbers() == [1, 2, 3]
    assert node.files.absolute(left.incoming.path).exists()
    _acknowledge(node, 5)


def test_one_that_nobody_acknowledged_goes_where_it_cannot_be_moved(
    files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _left(files, incoming(1))
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", _no_space)
        with pytest.raises(OutOfSpace):
            files.bring_in_or_drop(one.path)
    assert _incoming(files) == []


def test_what_a_killed_process_acknowledged_is_brought_in_and_nothing_else(
    db: Database, files: InstanceFiles
) -> None:
    receive(db, kept(files, incoming(1)))
    acknowledged = _left(files, incoming(2))
    _abandon(files, acknowledged)
    never_answered = _left(files, incoming(3))

    recover(db, files, "radnode")

    assert paths(db)[-1] == acknowledged.path
    assert files.absolute(acknowledged.path).read_bytes() == _HEAD + _DATA_SET
    assert instances_of_series(db, SERIES)[-1].dataset_digest == digest_of(_DATA_SET)
    assert not files.absolute(never_answered.path).exists()
    assert _incoming(files) == []


def test_while_a_receipt_names_a_file_no_sweep_takes_it(db: Database, files: InstanceFiles) -> None:
    receive(db, kept(files, incoming(1)))
    acknowledged = _left(files, incoming(2))
    _abandon(files, acknowledged)
    _left(files, incoming(3))
    later = datetime.now(UTC) + timedelta(hours=1)
    assert files.sweep_incoming(later) == 1
    assert files.sweep_incoming(None) == 0
    assert sweep_orphans(db, files, older_than=None) == 0
    assert len(_incoming(files)) == 1
    assert record_abandoned(db, files) == Found(recorded=1)


def test_on_a_full_disk_receipt_and_file_wait(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(db, kept(files, incoming(1)))
    acknowledged = _left(files, incoming(2))
    _abandon(files, acknowledged)
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", _no_space)
        assert record_abandoned(db, files) == Found(left=1)
    assert files.sweep_incoming(None) == 0
    assert record_abandoned(db, files) == Found(recorded=1)


def test_of_two_that_move_a_file_one_finds_nothing_to_do(files: InstanceFiles) -> None:
    together = threading.Barrier(4)

    def bring_in(path: str) -> None:
        together.wait(10)
        files.bring_in(path)

    with ThreadPoolExecutor(4) as threads:
        for number in range(60):
            one = _left(files, incoming(number))
            assert list(threads.map(bring_in, [one.path] * 4)) == [None] * 4
            assert files.absolute(one.path).exists()
    assert _incoming(files) == []


def test_a_file_that_is_gone_leaves_no_folder_behind(files: InstanceFiles) -> None:
    files.bring_in("instances/1.2.9/1.2.9.1/1.2.9.1.1.0123456789abcdef0123456789abcdef.dcm")
    assert not list((files.data_dir / "instances").iterdir())


def test_a_file_that_is_left_keeps_no_space_that_it_does_not_need(files: InstanceFiles) -> None:
    for content in (b"x" * 100, b"x" * 300_000):
        with IncomingFile(files, at_least_bytes=1 << 20) as part:
            part.write(content)
            path = part.path
            part.leave("1.2.3", "1.2.3.1", "1.2.3.1.1")
        assert path.stat().st_size == len(content)
        assert path.stat().st_blocks * 512 <= len(content) + (1 << 13)


@pytest.mark.parametrize("path", ["instances/1.2/3.dcm", "", "x/.dcm", "a/..dcm"])
def test_a_path_of_another_version_names_nothing_that_comes_in(
    files: InstanceFiles, path: str
) -> None:
    os.close(os.open(files.incoming_dir / "a.part", os.O_CREAT))
    files.bring_in(path)
    assert _incoming(files) == ["a.part"]
