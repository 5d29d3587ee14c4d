from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from storage.abandoned_receipts import Found, record_abandoned
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.errors import DatabaseUnavailable
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.orphaned_files import sweep_orphans
from storage.quarantine import quarantine_count
from storage.receipts import Receipts, await_settled, pages, paths_in_receipts
from storage.studies import get_study
from tests.unit.storage.kept_files import kept, undigested
from tests.unit.storage.samples import (
    PATIENT,
    SERIES,
    STUDY,
    after,
    digest_of,
    incoming,
    paths,
    receive,
)


@pytest.fixture
def receipts(files: InstanceFiles) -> Iterator[Receipts]:
    book = Receipts(files.data_dir)
    yield book
    book.close()


def _abandon(files: InstanceFiles, *instances: IncomingInstance) -> None:
    """Leave receipts behind, as a killed process does."""
    book = Receipts(files.data_dir)
    for one in instances:
        book.add(one)
    book.close()


def test_a_page_goes_with_the_last_row_that_it_stands_for(
    files: InstanceFiles, receipts: Receipts
) -> None:
    first = receipts.add(incoming(1))
    receipts.turn()
    second, third = receipts.add(incoming(2)), receipts.add(incoming(3))
    assert second is third
    assert len(pages(files.data_dir)) == 2
    receipts.settled(first)
    receipts.settled(second)
    (left,) = pages(files.data_dir)
    assert left.stat().st_mode & 0o777 == 0o600
    receipts.settled(third)
    assert not pages(files.data_dir)
    assert not list((files.data_dir / "receipts").iterdir())


def test_nothing_is_written_behind_half_a_receipt(
    files: InstanceFiles, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts.add(incoming(1))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda descriptor, line: write(descriptor, line[:50]))
        with pytest.raises(OSError, match="No space"):
            receipts.add(incoming(2))
    receipts.add(incoming(3))
    receipts.close()
    assert paths_in_receipts(files.data_dir) == {str(incoming(n).path) for n in (1, 3)}


def test_what_a_dead_process_acknowledged_gets_its_rows(db: Database, files: InstanceFiles) -> None:
    receive(db)
    sent = [kept(files, incoming(number, association_id=4711)) for number in (2, 3)]
    _abandon(files, *sent)
    assert record_abandoned(db, files) == Found(recorded=2)
    assert set(paths(db)) >= {one.path for one in sent}
    assert not pages(files.data_dir)
    assert record_abandoned(db, files) == Found()


def test_a_receipt_without_a_digest_gets_that_of_its_file(
    db: Database, files: InstanceFiles
) -> None:
    receive(db)
    _abandon(files, undigested(files, incoming(2), b"x" * 70_000))

    assert record_abandoned(db, files) == Found(recorded=1)
    assert instances_of_series(db, SERIES)[-1].dataset_digest == digest_of(b"x" * 70_000)


def test_what_a_power_cut_has_cut_gets_no_row(db: Database, files: InstanceFiles) -> None:
    receive(db)
    cut, whole = undigested(files, incoming(2)), undigested(files, incoming(3))
    os.truncate(files.absolute(cut.path), cut.size_bytes - 1)
    _abandon(files, cut, whole)

    assert record_abandoned(db, files) == Found(recorded=1, left=1)
    assert [one.instance_number for one in instances_of_series(db, SERIES)] == [1, 3]
    assert paths_in_receipts(files.data_dir) >= {str(cut.path)}


def test_the_pages_of_a_process_that_lives_are_left_alone(
    db: Database, files: InstanceFiles, receipts: Receipts
) -> None:
    receipts.add(kept(files, incoming(1)))
    assert record_abandoned(db, files) == Found()
    assert len(pages(files.data_dir)) == 1


def test_what_has_its_row_already_is_not_recorded_again(db: Database, files: InstanceFiles) -> None:
    known = kept(files, incoming(1))
    receive(db, known)
    older = kept(files, incoming(2))
    receive(db, older)
    newer = kept(files, incoming(2, content="newer"))
    receive(db, newer)
    discarded = kept(files, incoming(3))
    files.discard(discarded.path)
    _abandon(files, known, older, newer, discarded)
    assert record_abandoned(db, files) == Found()
    assert paths(db) == [known.path, newer.path]
    assert all(files.absolute(one.path).exists() for one in (known, older, newer))


def test_a_receipt_of_an_older_version_does_not_take_the_row_from_a_newer_one(
    db: Database, files: InstanceFiles
) -> None:
    receive(db, kept(files, incoming(1)))
    older = kept(files, incoming(2, content="older", received_at=after(1)))
    newer = kept(files, incoming(2, content="newer", received_at=after(2)))
    receive(db, newer)
    _abandon(files, older)
    record_abandoned(db, files)
    assert paths(db)[-1] == newer.path
    assert files.absolute(older.path).exists()
    assert sweep_orphans(db, files, older_than=None) == 0
    _abandon(files, older)
    assert record_abandoned(db, files) == Found()


def test_in_whatever_order_pages_are_found_the_newest_version_has_the_row(
    db: Database, files: InstanceFiles
) -> None:
    receive(db, kept(files, incoming(1)))
    versions = [
        kept(files, incoming(2, content=str(second), received_at=after(second)))
        for second in range(8)
    ]
    for one in versions:
        _abandon(files, one)
    assert record_abandoned(db, files) == Found(recorded=8)
    assert paths(db)[-1] == versions[-1].path
    assert all(files.absolute(one.path).exists() for one in versions)


def test_a_receipt_of_another_version_stays_and_holds_no_other(
    db: Database, files: InstanceFiles
) -> None:
    receive(db, kept(files, incoming(1)))
    sent = kept(files, incoming(2))
    _abandon(files, sent)
    strange = b'{"path": "instances/1.2/3.dcm", "colour": "blue"}'
    page = files.data_dir / "receipts" / "0.receipts"
    page.write_bytes(b"%08x %s\n" % (crc32(strange), strange))
    assert record_abandoned(db, files) == Found(recorded=1, left=1)
    assert pages(files.data_dir) == (page,)
    assert paths_in_receipts(files.data_dir) == {"instances/1.2/3.dcm"}


def test_a_duplicate_goes_and_a_contradiction_is_kept_aside(
    db: Database, files: InstanceFiles
) -> None:
    known = kept(files, incoming(1))
    receive(db, known)
    again = kept(files, incoming(1))
    stranger = kept(files, incoming(2, patient=replace(PATIENT, patient_id="PID-2")))
    _abandon(files, again, stranger)
    assert record_abandoned(db, files) == Found(recorded=2)
    assert files.absolute(known.path).exists()
    assert not files.absolute(again.path).exists()
    assert quarantine_count(db) == 1


def test_a_late_one_opens_its_study_again(db: Database, files: InstanceFiles) -> None:
    receive(db)
    before = get_study(db, STUDY).generation
    _abandon(files, kept(files, incoming(2)))
    record_abandoned(db, files)
    assert get_study(db, STUDY).generation >= before


def test_a_page_that_cannot_be_recorded_stays_and_its_files_too(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(db, kept(files, incoming(1)))
    sent = kept(files, incoming(2))
    _abandon(files, sent)
    with monkeypatch.context() as patch:
        away = DatabaseUnavailable("the database is away")
        patch.setattr("storage.abandoned_receipts.record_instances", lambda *_, **__: [away])
        with pytest.raises(DatabaseUnavailable):
            record_abandoned(db, files)
    assert sweep_orphans(db, files, older_than=None) == 0
    assert files.absolute(sent.path).exists()
    assert record_abandoned(db, files) == Found(recorded=1)


def test_who_waits_for_rows_does_not_wait_for_ever(
    files: InstanceFiles, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = receipts.add(incoming(1))
    await_settled(files.data_dir, 0.02)
    monkeypatch.setattr("time.sleep", lambda _seconds: receipts.settled(page))
    await_settled(files.data_dir, 600.0)
    assert not pages(files.data_dir)


def test_nobody_waits_for_receipts_that_have_waited_long(
    files: InstanceFiles, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts.add(incoming(1))
    (page,) = pages(files.data_dir)
    os.utime(page, (1_000_000_000, 1_000_000_000))
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("waited"))
    await_settled(files.data_dir, 600.0)


def test_a_data_directory_without_receipts_has_none(tmp_path: Path) -> None:
    assert not pages(tmp_path)
    assert not paths_in_receipts(tmp_path)
