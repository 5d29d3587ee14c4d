"""What comes again under a known SOP Instance UID: the same, changed, or made to look the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import storage.instances
from storage.abandoned_receipts import Found, record_abandoned
from storage.database import Database
from storage.dicom_records import StoreOutcome
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.instance_rows import record_in
from storage.instances import instances_of_series, record_instances
from storage.receipts import Receipts
from storage.rejection_notes import unsettled_notes
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.studies import get_study
from tests.unit.storage.comparing_node import (
    FORGED,
    ComparingNode,
    earlier_digests_of,
    sure_digest_of,
)
from tests.unit.storage.samples import SERIES, STUDY, after, digest_of, make_ready

STORED, REPLACED, DUPLICATE = StoreOutcome.STORED, StoreOutcome.REPLACED, StoreOutcome.DUPLICATE


@pytest.fixture
def comparing(db: Database, files: InstanceFiles) -> ComparingNode:
    return ComparingNode(db, files)


@pytest.mark.parametrize("digest", ["", sure_digest_of(b"x"), *earlier_digests_of(b"x")])
def test_the_same_bytes_are_a_duplicate_whatever_kind_of_digest_is_known(
    comparing: ComparingNode, digest: str
) -> None:
    comparing.had(b"x", digest)
    make_ready(comparing.db)
    before = comparing.row

    assert comparing.receives(b"x") is DUPLICATE
    assert comparing.row == before
    assert get_study(comparing.db, STUDY).generation == 1
    assert comparing.data_sets() == [b"x"]


@pytest.mark.parametrize("digest", ["", sure_digest_of(b"x"), *earlier_digests_of(b"x")])
def test_other_bytes_replace_it_whatever_kind_of_digest_is_known(
    comparing: ComparingNode, digest: str
) -> None:
    comparing.had(b"x", digest)

    assert comparing.receives(b"y") is REPLACED
    assert comparing.receives(b"y") is DUPLICATE
    assert comparing.row.dataset_digest == digest_of(b"y")
    assert comparing.data_sets() == [b"x", b"y"]


def test_what_was_made_to_share_a_digest_is_another_data_set_for_jobs_too(
    comparing: ComparingNode,
) -> None:
    assert comparing.receives(b"x", FORGED) is STORED
    first = comparing.input_digest

    assert comparing.receives(b"y", FORGED) is REPLACED
    assert comparing.files.absolute(comparing.row.path).read_bytes().endswith(b"y")
    assert comparing.row.dataset_digest == sure_digest_of(b"y")
    second = comparing.input_digest
    assert second != first
    assert comparing.receives(b"y", FORGED) is DUPLICATE
    assert comparing.data_sets() == [b"x", b"y"]


def test_a_version_that_comes_back_has_the_digest_that_jobs_know_it_by(
    comparing: ComparingNode,
) -> None:
    pinned: list[str] = []
    for data_set in (b"x", b"y", b"x", b"y", b"z"):
        assert comparing.receives(data_set, FORGED) is (REPLACED if pinned else STORED)
        pinned.append(comparing.input_digest)

    assert pinned[:2] == pinned[2:4]
    assert len(set(pinned)) == 3


def test_a_replaced_version_is_not_taken_for_one_that_shares_its_digest(
    comparing: ComparingNode,
) -> None:
    for data_set, digest in ((b"x", FORGED), (b"y", ""), (b"z", FORGED)):
        comparing.receives(data_set, digest)

    assert comparing.row.dataset_digest == sure_digest_of(b"z")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:150])


@pytest.mark.parametrize("lose", [Path.unlink, _cut, lambda path: path.write_bytes(bytes(500))])
@pytest.mark.parametrize("digest", ["", *earlier_digests_of(b"x")])
def test_what_is_lost_is_replaced_by_what_comes(
    comparing: ComparingNode, lose: Callable[[Path], None], digest: str
) -> None:
    comparing.had(b"x", digest)
    lose(comparing.files.absolute(comparing.row.path))
    before = comparing.input_digest

    assert comparing.receives(b"x") is REPLACED
    assert comparing.files.absolute(comparing.row.path).read_bytes().endswith(b"x")
    assert comparing.input_digest != before
    assert comparing.receives(b"x") is DUPLICATE


def test_what_cannot_be_read_itself_replaces_nothing(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing.had(b"x")
    one, new = comparing.on_disk(b"x"), comparing.on_disk(b"y", number=2)
    comparing.files.absolute(one.path).unlink()

    refused, stored = record_instances(comparing.db, [one, new], files=comparing.files)
    assert isinstance(refused, StorageError)
    assert stored is STORED
    assert comparing.data_sets() == [b"x", b"y"]


def test_nothing_is_read_of_what_is_new_or_has_another_digest(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstanceFiles, "has_same_data_set", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(InstanceFiles, "sure_digest", lambda *_: pytest.fail("read"))

    outcomes = [comparing.receives(b"x", number=number) for number in (1, 2)]
    assert [*outcomes, comparing.receives(b"y", number=2)] == [STORED, STORED, REPLACED]


def test_a_series_that_is_known_is_not_asked_for_what_comes_new(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing.receives(b"x")
    for asking in ("_compare_ahead", "record_in"):
        monkeypatch.setattr(storage.instances, asking, lambda *_: pytest.fail("asked"))

    assert comparing.receives(b"x", number=2) is STORED


def test_files_are_compared_before_anything_is_locked_and_once(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    compare = InstanceFiles.has_same_data_set

    def compared(files: InstanceFiles, place: str, kept: str) -> bool:
        told.append("compared")
        return compare(files, place, kept)

    def recorded(*arguments: object) -> object:
        told.append("recorded")
        return record_in(*arguments)  # type: ignore[arg-type]

    comparing.had(b"x", FORGED)
    monkeypatch.setattr(InstanceFiles, "has_same_data_set", compared)
    monkeypatch.setattr(storage.instances, "record_in", recorded)

    assert comparing.receives(b"y", FORGED) is REPLACED
    assert told == ["compared", "recorded"]


def test_a_version_that_another_process_wrote_meanwhile_is_compared_too(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing.had(b"x", FORGED)
    monkeypatch.setattr(storage.instances, "_compare_ahead", lambda *_: None)

    assert comparing.receives(b"x", FORGED) is DUPLICATE
    assert comparing.receives(b"y", FORGED) is REPLACED


def test_a_receipt_whose_row_was_written_keeps_its_file(comparing: ComparingNode) -> None:
    one = comparing.on_disk(b"x")

    again = [record_instances(comparing.db, [one], files=comparing.files) for _ in range(2)]
    assert again == [[STORED], [DUPLICATE]]
    assert comparing.data_sets() == [b"x"]


@pytest.mark.parametrize("digest", earlier_digests_of(b"y"))
def test_a_receipt_that_an_earlier_version_left_behind_is_recorded(
    comparing: ComparingNode, digest: str
) -> None:
    """It told the digest, of a kind that nobody makes any more."""
    comparing.had(b"x")
    known = comparing.on_disk(b"x", earlier_digests_of(b"x")[0])
    book = Receipts(comparing.files.data_dir)
    for one in (known, comparing.on_disk(b"y", digest, number=2)):
        book.add(one)
    book.close()

    assert record_abandoned(comparing.db, comparing.files) == Found(recorded=2)
    digests = [one.dataset_digest for one in instances_of_series(comparing.db, SERIES)]
    assert digests == [digest_of(b"x"), digest]
    assert comparing.receives(b"y", number=2) is DUPLICATE
    assert comparing.data_sets() == [b"x", b"y"]


def test_an_older_version_that_comes_late_is_kept_under_its_own_digest(
    comparing: ComparingNode,
) -> None:
    older = comparing.on_disk(b"x", FORGED, is_late=True)
    comparing.receives(b"y", FORGED, received_at=after(9))
    newest = comparing.row

    for _ in range(2):
        assert record_instances(comparing.db, [older], files=comparing.files) == [DUPLICATE]
    assert comparing.row == newest
    assert comparing.data_sets() == [b"x", b"y"]
    assert comparing.receives(b"x", FORGED) is REPLACED
    assert comparing.row.dataset_digest == sure_digest_of(b"x")


def test_our_own_result_that_comes_again_is_a_duplicate(comparing: ComparingNode) -> None:
    comparing.had(b"x", number=2)
    outcomes = [comparing.receives(b"x", FORGED, is_own_result=True) for _ in range(2)]
    outcomes.append(comparing.receives(b"y", FORGED, is_own_result=True))

    assert outcomes == [StoreOutcome.OWN_RESULT, DUPLICATE, StoreOutcome.OWN_RESULT]
    assert comparing.row.instance_number == 2
    assert comparing.receives(b"y", number=2, is_own_result=True) is StoreOutcome.OWN_RESULT
    assert instances_of_series(comparing.db, SERIES) == ()


@pytest.mark.parametrize("digest", ["", *earlier_digests_of(b"x")])
def test_a_rejection_note_that_comes_again_is_read_once(
    comparing: ComparingNode, digest: str
) -> None:
    comparing.had(b"x", digest, sop_class_uid=KEY_OBJECT_SELECTION)

    assert comparing.receives(b"x", sop_class_uid=KEY_OBJECT_SELECTION) is DUPLICATE
    assert len(unsettled_notes(comparing.db)) == 1


def test_a_rejection_note_that_was_made_to_share_a_digest_is_read_too(
    comparing: ComparingNode,
) -> None:
    for data_set in (b"x", b"y", b"x", b"y"):
        comparing.receives(data_set, FORGED, sop_class_uid=KEY_OBJECT_SELECTION)

    notes = unsettled_notes(comparing.db)
    contents = [comparing.files.absolute(note.path).read_bytes()[-1:] for note in notes]
    assert contents == [b"x", b"y"]
