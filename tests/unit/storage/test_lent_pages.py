"""Pages of receipts in other hands: what is given stays until it has its row, all else goes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import storage.late_rows
from storage.abandoned_receipts import Found, record_abandoned
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.errors import DatabaseUnavailable
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.receipt_text import ReceiptWriter
from storage.receipts import LentPage, Receipts, pages, paths_in_receipts
from tests.unit.storage.kept_files import kept
from tests.unit.storage.receiving_node import ReceivingNode
from tests.unit.storage.samples import incoming


def lent_by(owner: InstanceRecorder | Receipts, one: IncomingInstance) -> LentPage | None:
    return owner.lend(1) if isinstance(owner, Receipts) else owner.lend([one], 1)


def not_given(node: ReceivingNode, lent: LentPage) -> None:
    """It comes back without a receipt, perhaps with a part of one."""
    node.recorder.came_back(lent, (), node.tell, is_spoilt=True)


class Borrower:
    """Borrows pages of a node as a receiver's thread does."""

    def __init__(self, node: ReceivingNode) -> None:
        self._node = node
        self._writer = ReceiptWriter()

    def expected(self, number: int) -> IncomingInstance:
        return kept(self._node.files, incoming(number, association_id=self._node.association_id))

    def borrow(self, number: int) -> tuple[IncomingInstance, LentPage]:
        one = self.expected(number)
        lent = lent_by(self._node.recorder, one)
        assert lent is not None
        return one, lent

    def give(self, one: IncomingInstance, lent: LentPage) -> None:
        """Write the receipt, and then tell of it."""
        line = self._writer.line(one)
        assert os.write(lent.page.descriptor, b"\n" + line) == 1 + len(line)
        self._node.recorder.came_back(lent, [(one, "")], self._node.tell)

    def send(self, number: int) -> None:
        """Send an instance by a page that is borrowed; every third one comes to nothing."""
        one = self.expected(number)
        lent = lent_by(self._node.recorder, one)
        if lent is None:
            self._node.recorder.record(one, self._node.tell)
        elif number % 3:
            self.give(one, lent)
        else:
            os.write(lent.page.descriptor, b"half a line")
            not_given(self._node, lent)
            self._node.recorder.record(one, self._node.tell)


@pytest.fixture
def borrower(node: ReceivingNode) -> Borrower:
    node.record(1)
    return Borrower(node)


def _pages(node: ReceivingNode) -> int:
    return len(pages(node.files.data_dir))


def _close_as_a_killed_process(recorder: InstanceRecorder) -> None:
    """The process is gone with its queue; its locks are, too."""
    with recorder._lock:
        recorder._queue.clear()
    assert recorder._late is not None
    recorder._late.close()
    recorder._late = None


def test_a_page_that_comes_back_empty_goes(node: ReceivingNode, borrower: Borrower) -> None:
    _, lent = borrower.borrow(2)
    assert _pages(node) == 1
    not_given(node, lent)
    assert _pages(node) == 0

    node.record(3)
    node.recorder.write_late()
    assert node.numbers() == [1, 3]
    assert _pages(node) == 0


def test_a_receipt_that_was_given_stays_until_it_has_its_row(
    node: ReceivingNode, borrower: Borrower
) -> None:
    one, lent = borrower.borrow(2)
    borrower.give(one, lent)
    assert paths_in_receipts(node.files.data_dir) == {one.path}
    assert (node.numbers(), node.told) == ([1], {"stored": 1})

    node.recorder.write_late()
    assert (node.numbers(), node.told) == ([1, 2], {"stored": 2})
    assert _pages(node) == 0


def test_what_is_on_a_page_stays_when_the_page_comes_back_without_more(
    node: ReceivingNode, borrower: Borrower
) -> None:
    before = node.record(2)
    _, lent = borrower.borrow(3)
    not_given(node, lent)
    after = node.record(4)
    assert _pages(node) == 2
    assert paths_in_receipts(node.files.data_dir) == {before.path, after.path}

    node.recorder.write_late()
    assert node.numbers() == [1, 2, 4]
    assert _pages(node) == 0


@pytest.mark.parametrize("is_first_given", [True, False])
@pytest.mark.parametrize("comes_first", [0, 1])
def test_of_two_that_have_a_page_one_gives_and_the_other_does_not(
    node: ReceivingNode, borrower: Borrower, is_first_given: bool, comes_first: int
) -> None:
    borrowed = [borrower.borrow(2), borrower.borrow(3)]
    assert borrowed[0][1].page is borrowed[1][1].page
    given = borrowed[0 if is_first_given else 1]
    for one, lent in (borrowed[comes_first], borrowed[1 - comes_first]):
        if (one, lent) == given:
            borrower.give(one, lent)
        else:
            not_given(node, lent)
    assert paths_in_receipts(node.files.data_dir) == {given[0].path}

    node.recorder.write_late()
    assert node.numbers() == [1, given[0].instance_number]
    assert _pages(node) == 0


def test_a_page_does_not_go_with_its_last_row_while_another_one_has_it(
    node: ReceivingNode, borrower: Borrower
) -> None:
    borrower.give(*borrower.borrow(2))
    late, lent = borrower.borrow(3)
    node.recorder.write_late()
    assert node.numbers() == [1, 2]
    borrower.give(late, lent)
    assert late.path in paths_in_receipts(node.files.data_dir)
    node.recorder.write_late()
    assert node.numbers() == [1, 2, 3]
    assert _pages(node) == 0


def test_half_a_line_of_one_does_not_spoil_what_others_write_behind_it(
    node: ReceivingNode, borrower: Borrower
) -> None:
    _, failed = borrower.borrow(2)
    other, lent = borrower.borrow(3)
    os.write(failed.page.descriptor, b'12345678 {"half')
    own = node.record(4)
    borrower.give(other, lent)
    not_given(node, failed)
    later = node.record(5)

    expected = {other.path, own.path, later.path}
    assert paths_in_receipts(node.files.data_dir) == expected
    _close_as_a_killed_process(node.recorder)
    assert record_abandoned(node.db, node.files) == Found(recorded=3)


def test_a_page_that_is_in_use_when_the_node_stops_is_left_behind_when_it_comes_back(
    node: ReceivingNode, borrower: Borrower
) -> None:
    one, lent = borrower.borrow(2)
    _, other = borrower.borrow(3)
    node.recorder.close()
    assert record_abandoned(node.db, node.files) == Found()
    not_given(node, other)
    borrower.give(one, lent)
    assert paths_in_receipts(node.files.data_dir) == {one.path}
    # The writing thread may have been at it still.
    assert record_abandoned(node.db, node.files) in (Found(recorded=1), Found())
    assert node.numbers() == [1, 2]
    assert _pages(node) == 0


def test_a_page_that_comes_back_empty_after_the_node_has_stopped_goes(
    node: ReceivingNode, borrower: Borrower
) -> None:
    _, lent = borrower.borrow(2)
    descriptor = lent.page.descriptor
    node.recorder.close()
    os.fstat(descriptor)
    not_given(node, lent)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert _pages(node) == 0
    assert not list((node.files.data_dir / "receipts").iterdir())


def test_what_a_killed_process_had_lent_is_recorded_if_it_was_written(
    node: ReceivingNode, borrower: Borrower
) -> None:
    """Between the answer and the word of it, too."""
    one, lent = borrower.borrow(2)
    borrower.borrow(3)
    os.write(lent.page.descriptor, b"\n" + ReceiptWriter().line(one))
    _close_as_a_killed_process(node.recorder)
    os.close(lent.page.descriptor)

    assert record_abandoned(node.db, node.files) == Found(recorded=1)
    assert node.numbers() == [1, 2]


def test_no_page_is_lent_for_what_has_to_be_recorded_first(
    node: ReceivingNode, borrower: Borrower, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = borrower.expected(2)
    lend = partial(lent_by, node.recorder)
    assert lend(expected._replace(association_id=4711)) is None
    assert lend(expected._replace(is_own_result=True)) is None
    assert lend(incoming(2, series="1.2.9", association_id=node.association_id)) is None
    assert lent_by(InstanceRecorder(node.db, node.files), expected) is None
    monkeypatch.setattr(storage.late_rows, "MOST_QUEUED", 1)
    first = lend(expected)
    assert first is not None
    assert lend(expected) is None
    not_given(node, first)
    with monkeypatch.context() as patch:
        patch.setattr("os.open", _full)
        assert lend(expected) is None
    again = lend(expected)
    assert again is not None
    not_given(node, again)
    node.recorder.close()
    assert lend(expected) is None
    assert _pages(node) == 0


def _full(*_: object, **__: object) -> int:
    raise OSError(28, "No space left on device")


def test_no_page_is_lent_while_the_database_is_away_and_again_when_it_is_back(
    node: ReceivingNode, borrower: Borrower, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lent = borrower.borrow(2)
    node.record(3)
    with monkeypatch.context() as patch:
        away = DatabaseUnavailable("the database is away")
        patch.setattr(
            "storage.instance_recorder.record_instances", lambda _, all_, *__: [away] * len(all_)
        )
        node.recorder.write_late()
    assert lent_by(node.recorder, borrower.expected(4)) is None
    node.recorder.write_late()
    not_given(node, lent)
    borrower.give(*borrower.borrow(4))
    node.recorder.write_late()
    assert node.numbers() == [1, 3, 4]
    assert _pages(node) == 0


def test_many_threads_borrow_and_each_outcome_is_told_once(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 0.001)
    node = ReceivingNode(db, files)
    node.record(1)
    borrower = Borrower(node)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(borrower.send, range(2, 152)))
    node.recorder.close()
    assert node.numbers() == list(range(1, 152))
    assert node.told == {"stored": 151}
    assert not pages(files.data_dir)


def test_the_pieces_of_a_receipt_are_those_of_the_line() -> None:
    for number in (None, 0, 7, 123):
        one = incoming(3)._replace(instance_number=number, dataset_digest="")
        to_uid, to_number, to_path, to_size = (
            piece.decode() for piece in ReceiptWriter().pieces(incoming(4))
        )
        text = f"{to_uid}{one.sop_instance_uid}{to_number}12{to_path}{one.path}{to_size}"
        rest = f'1003, "dataset_digest": "", "received_at": "{one.received_at.isoformat()}"}}\n'
        line = (text + rest).encode()
        assert ReceiptWriter().line(one._replace(instance_number=12))[9:] == line


def test_pages_are_of_one_book(files: InstanceFiles) -> None:
    book = Receipts(files.data_dir)
    lent = lent_by(book, incoming(1))
    assert lent is not None
    assert book.add(incoming(2)) is lent.page
    book.came_back(lent.page, 1, is_spoilt=True)
    book.settled(lent.page)
    book.close()
    assert not pages(files.data_dir)
