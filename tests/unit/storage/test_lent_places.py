"""A page lent for several receipts at once: what is given counts, other places come back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.incoming_file import MadeFile, SpareFile, new_chance
from storage.instance_files import InstanceFiles
from storage.late_rows import MOST_QUEUED
from storage.receipt_text import ReceiptWriter
from storage.receipts import LentPage, pages, paths_in_receipts
from tests.unit.storage.kept_files import kept
from tests.unit.storage.receiving_node import ReceivingNode
from tests.unit.storage.samples import incoming

UIDS = ("1.2.3", "1.2.3.4", "1.2.3.4.5")
MOST = 8


@pytest.fixture
def lending(node: ReceivingNode) -> ReceivingNode:
    node.record(1)
    return node


def lent_of(node: ReceivingNode, most: int = MOST) -> LentPage | None:
    return node.recorder.lend([incoming(2, association_id=node.association_id)], most)


def give(node: ReceivingNode, lent: LentPage, *numbers: int, is_spoilt: bool = False) -> None:
    """Write receipts for these, and say that these are all."""
    ones = [
        kept(node.files, incoming(number, association_id=node.association_id)) for number in numbers
    ]
    for one in ones:
        os.write(lent.page.descriptor, b"\n" + ReceiptWriter().line(one))
    if is_spoilt:
        os.write(lent.page.descriptor, b"\n01234567 half")
    node.recorder.came_back(lent, [(one, "") for one in ones], node.tell, is_spoilt=is_spoilt)


@pytest.mark.parametrize("is_spoilt", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_of_many_places_those_that_are_used_become_rows(
    lending: ReceivingNode, count: int, is_spoilt: bool
) -> None:
    lent = lent_of(lending)
    assert lent is not None
    assert lent.places == MOST
    numbers = range(2, 2 + count)
    give(lending, lent, *numbers, is_spoilt=is_spoilt)
    assert len(paths_in_receipts(lending.files.data_dir)) == count

    lending.recorder.write_late()
    assert lending.numbers() == [1, *numbers]
    assert lending.told == {"stored": 1 + count}
    assert not pages(lending.files.data_dir)


def test_a_page_stays_until_the_last_of_several_places_is_settled(lending: ReceivingNode) -> None:
    one, other = lent_of(lending), lent_of(lending)
    assert one is not None
    assert other is not None
    assert one.page is other.page
    give(lending, one, 2, 3, 4)
    lending.recorder.write_late()
    assert len(pages(lending.files.data_dir)) == 1
    give(lending, other, 5)
    assert len(paths_in_receipts(lending.files.data_dir)) == 4

    lending.recorder.write_late()
    assert lending.numbers() == [1, 2, 3, 4, 5]
    assert not pages(lending.files.data_dir)


def test_many_that_borrow_leave_places_to_others_and_get_all_of_them_back(
    lending: ReceivingNode,
) -> None:
    for _ in range(2):
        lent = list[LentPage]()
        while (one := lent_of(lending)) is not None:
            lent.append(one)
        assert [one.places for one in lent] == [8] * 15 + [4, 2, 1]
        assert sum(one.places for one in lent) == MOST_QUEUED
        for one in lent:
            give(lending, one)
    assert not pages(lending.files.data_dir)
    lending.record(2)
    lending.recorder.write_late()
    assert lending.numbers() == [1, 2]


def test_places_that_come_back_after_the_node_has_stopped_leave_what_was_given(
    lending: ReceivingNode,
) -> None:
    lent = lent_of(lending)
    assert lent is not None
    lending.recorder.close()
    give(lending, lent, 2, 3)
    assert len(paths_in_receipts(lending.files.data_dir)) == 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lent.page.descriptor)


def made_file(files: InstanceFiles, content: bytes) -> MadeFile:
    chance = new_chance()
    descriptor = os.open(files.incoming_name(chance), os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, content)
    return MadeFile(chance, descriptor, 0)


@pytest.mark.parametrize("begun", [b"", b"of another instance, and longer"])
def test_a_file_that_came_back_becomes_the_next_instance_and_holds_nothing_of_another(
    files: InstanceFiles, begun: bytes
) -> None:
    spare = SpareFile(files)
    spare.came_back(made_file(files, begun), [100, 200])
    with files.open_incoming(spare) as taken:
        taken.write(b"short")
        place = taken.keep(*UIDS)
    assert files.absolute(place).read_bytes() == b"short"
    assert not list(files.incoming_dir.iterdir())


def test_a_file_that_was_begun_and_put_back_holds_nothing_of_another(files: InstanceFiles) -> None:
    spare = SpareFile(files)
    spare.prepare()
    file = spare.taken()
    assert file is not None
    os.write(file.descriptor, b"of another instance, and longer")
    spare.put_back(file)
    assert spare.taken() is file
    assert (os.fstat(file.descriptor).st_size, os.lseek(file.descriptor, 0, os.SEEK_CUR)) == (0, 0)
    file.close()


def test_a_file_that_came_back_and_is_not_needed_goes(files: InstanceFiles) -> None:
    spare = SpareFile(files)
    made = made_file(files, b"begun")
    spare.came_back(made, [])
    spare.close()
    assert not list(files.incoming_dir.iterdir())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(made.descriptor)


def test_sizes_of_files_that_others_took_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = InstanceFiles(tmp_path, "os")
    monkeypatch.setattr(files, "free_mib", lambda: 1 << 20)
    spare = SpareFile(files)
    spare.came_back(None, [5000, 9000])
    assert spare.taken() is None
    assert spare.to_reserve() == 4096


def test_a_page_for_several_series_is_lent_where_all_of_them_are_expected(
    lending: ReceivingNode,
) -> None:
    known = incoming(2, association_id=lending.association_id)
    unknown = incoming(3, association_id=lending.association_id, series="1.2.3.9")
    for likes in ([unknown], [known, unknown], [unknown, known]):
        assert lending.recorder.lend(likes, MOST) is None

    assert lent_of(lending) is not None
