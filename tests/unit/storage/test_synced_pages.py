"""Pages of receipts that outlive a power cut: when they are on the disk, and used again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.abandoned_receipts import Found, record_abandoned
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.receipts import Page, Receipts, await_settled, pages, paths_in_receipts
from storage.synced_pages import PAGE_BYTES, SyncedPages
from tests.unit.storage.kept_files import kept
from tests.unit.storage.samples import SERIES, incoming, receive


@pytest.fixture
def receipts(files: InstanceFiles) -> Iterator[Receipts]:
    book = Receipts(files.data_dir, SyncedPages)
    yield book
    book.close()


def _add(receipts: Receipts, number: int) -> Page:
    page = receipts.add(incoming(number))
    page.sync()
    receipts.came_back(page)
    return page


def _numbers(db: Database) -> list[int | None]:
    return [one.instance_number for one in instances_of_series(db, SERIES)]


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_page_is_on_the_disk_in_full_before_its_first_receipt(
    files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink().suffix, _size(descriptor)))
        sync(descriptor)

    monkeypatch.setattr("os.fsync", noted)
    book = Receipts(files.data_dir, SyncedPages)
    seen.clear()
    page = _add(book, 1)
    assert seen[0] == (".receipts", PAGE_BYTES)
    assert seen[1][0] == ""
    assert _size(page.descriptor) == PAGE_BYTES
    assert paths_in_receipts(files.data_dir) == {incoming(1).path}
    book.close()


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def test_a_page_is_used_again_and_says_nothing_of_what_has_its_row(
    files: InstanceFiles, receipts: Receipts
) -> None:
    for number in range(1, 20):
        page = _add(receipts, number)
        assert paths_in_receipts(files.data_dir) == {incoming(number).path}
        receipts.turn()
        receipts.settled(page)
        assert not paths_in_receipts(files.data_dir)
    assert len(pages(files.data_dir)) == 1
    receipts.close()
    assert not list((files.data_dir / "receipts").iterdir())


def test_pages_that_are_free_do_not_become_more_and_more(
    files: InstanceFiles, receipts: Receipts
) -> None:
    filled = []
    for number in range(8):
        filled.append(_add(receipts, number))
        receipts.turn()
    assert len(pages(files.data_dir)) == 8
    for page in filled:
        receipts.settled(page)
    assert len(pages(files.data_dir)) == 2


def test_a_receipt_that_has_no_room_is_not_written(
    files: InstanceFiles, receipts: Receipts
) -> None:
    long = incoming(1)._replace(calling_ae_title="x" * PAGE_BYTES)
    with pytest.raises(OSError, match="No space"):
        receipts.add(long)
    _add(receipts, 2)
    assert paths_in_receipts(files.data_dir) == {incoming(2).path}


def test_one_sync_serves_all_that_wait_for_it(
    receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("os.fdatasync", calls.append)
    page = receipts.add(incoming(1))
    assert receipts.add(incoming(2)) is page
    page.sync()
    page.sync()
    assert len(calls) == 1
    receipts.add(incoming(3))
    page.sync()
    assert len(calls) == 2


def test_after_a_sync_that_failed_nothing_on_the_page_is_believed(
    files: InstanceFiles, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = receipts.add(incoming(1))
    receipts.add(incoming(2))
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", failing(errno.EIO))
        with pytest.raises(OSError, match="error"):
            page.sync()
    # The system tells an error once: the other thread would hear that all is well.
    with pytest.raises(OSError, match="error"):
        page.sync()
    receipts.came_back(page, 1, is_spoilt=True)
    receipts.came_back(page, 1, is_spoilt=True)
    assert not pages(files.data_dir)
    assert _add(receipts, 3) is not page


def test_a_page_is_not_closed_while_somebody_waits_for_its_sync(
    files: InstanceFiles, receipts: Receipts
) -> None:
    page = receipts.add(incoming(1))
    receipts.close()
    page.sync()
    receipts.came_back(page)
    assert paths_in_receipts(files.data_dir) == {incoming(1).path}
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(page.descriptor)


def test_who_waits_for_rows_does_not_wait_for_the_next_ones_on_the_same_page(
    files: InstanceFiles, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = _add(receipts, 1)

    def settle_and_use_again(_seconds: float) -> None:
        receipts.turn()
        receipts.settled(page)
        assert _add(receipts, 2) is page

    monkeypatch.setattr("time.sleep", settle_and_use_again)
    await_settled(files.data_dir, 600.0)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    await_settled(files.data_dir, 0.02)
    receipts.settled(page)
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("waited"))
    await_settled(files.data_dir, 600.0)


def test_what_a_power_cut_brings_back_of_a_page_is_known_already(
    db: Database, files: InstanceFiles, receipts: Receipts
) -> None:
    first, second = kept(files, incoming(1)), kept(files, incoming(2))
    page = receipts.add(first)
    receipts.add(second)
    (path,) = pages(files.data_dir)
    before = path.read_bytes()
    receive(db, first)
    receive(db, second)
    for _ in range(2):
        receipts.came_back(page)
        receipts.settled(page)
    receipts.close()
    torn = before[:200] + b" " * 300 + before[500:]
    for content in (before, torn):
        (path.parent / "after.receipts").write_bytes(content)
        assert record_abandoned(db, files) == Found()
        assert not pages(files.data_dir)
    assert _numbers(db) == [1, 2]
