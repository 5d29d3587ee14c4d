"""What is kept aside comes again: the same, changed, or made to look the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import storage.quarantine
from storage.database import Database
from storage.dicom_records import SeriesHeader, StoreOutcome
from storage.errors import Contended, StorageError
from storage.instance_files import InstanceFiles
from storage.quarantine import quarantine_count
from storage.quarantine_release import release
from tests.unit.storage.comparing_node import (
    FORGED,
    ComparingNode,
    earlier_digests_of,
    sure_digest_of,
)
from tests.unit.storage.samples import PATIENT, SERIES, STUDY, incoming

STRANGER: dict[str, Any] = {"number": 2, "study": incoming(study="1.2.9").study}


@pytest.fixture
def comparing(db: Database, files: InstanceFiles) -> ComparingNode:
    """It knows the series in another study."""
    node = ComparingNode(db, files)
    node.receives(b"known")
    return node


def _lose(node: ComparingNode) -> None:
    for path in (node.files.data_dir / "quarantine").iterdir():
        path.unlink()


@pytest.mark.parametrize("digest", ["", sure_digest_of(b"x"), *earlier_digests_of(b"x")])
def test_the_same_bytes_are_kept_aside_once(comparing: ComparingNode, digest: str) -> None:
    first = comparing.sets_aside(b"x", digest, **STRANGER)

    assert comparing.sets_aside(b"x", **STRANGER) == first
    assert quarantine_count(comparing.db) == 1
    assert comparing.data_sets("quarantine") == [b"x"]
    assert comparing.data_sets() == [b"known"]


@pytest.mark.parametrize("digest", ["", FORGED])
def test_other_bytes_are_kept_aside_too(comparing: ComparingNode, digest: str) -> None:
    numbers = [comparing.sets_aside(one, digest, **STRANGER) for one in (b"x", b"y", b"z") * 2]

    assert numbers[:3] == numbers[3:]
    assert len(set(numbers)) == 3
    assert comparing.data_sets("quarantine") == [b"x", b"y", b"z"]
    assert comparing.data_sets() == [b"known"]


def test_what_is_lost_is_kept_aside_anew(comparing: ComparingNode) -> None:
    lost = comparing.sets_aside(b"x", **STRANGER)
    _lose(comparing)
    anew = comparing.sets_aside(b"x", **STRANGER)

    assert anew != lost
    assert comparing.sets_aside(b"x", **STRANGER) == anew
    _lose(comparing)
    assert comparing.sets_aside(b"x", **STRANGER) == anew
    assert comparing.data_sets("quarantine") == [b"x"]
    assert release(comparing.db, comparing.files, anew, actor="person") is StoreOutcome.STORED
    assert comparing.data_sets() == [b"known", b"known", b"x"]


@pytest.mark.parametrize("other", [b"x", b"y"])
def test_of_two_associations_that_bring_one_digest_at_once_neither_loses_its_bytes(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch, other: bytes
) -> None:
    """Both have looked, and found nothing: one is in the midst of setting its file aside."""
    numbers: list[int] = []
    begin, set_aside = Database.begin, InstanceFiles.set_aside

    def set_aside_first(files: InstanceFiles, place: str) -> str:
        monkeypatch.setattr(InstanceFiles, "set_aside", set_aside)
        monkeypatch.setattr(Database, "begin", begin_second)
        return set_aside(files, place)

    def begin_second(db: Database) -> Any:
        monkeypatch.setattr(Database, "begin", begin)
        numbers.append(comparing.sets_aside(other, FORGED, **STRANGER))
        return begin(db)

    monkeypatch.setattr(InstanceFiles, "set_aside", set_aside_first)
    numbers.append(comparing.sets_aside(b"x", FORGED, **STRANGER))

    assert (len(numbers), len(set(numbers))) == (2, 1 if other == b"x" else 2)
    assert comparing.data_sets("quarantine") == sorted({b"x", other})
    assert comparing.data_sets() == [b"known"]


def test_what_finds_no_place_is_neither_lost_nor_kept_aside(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.quarantine, "insert_new", lambda *_: None)

    with pytest.raises(Contended, match="keep the same instance aside"):
        comparing.receives(b"x", **STRANGER)
    assert quarantine_count(comparing.db) == 0
    assert comparing.data_sets("quarantine") == []
    assert comparing.data_sets() == [b"known", b"x"]


def test_what_cannot_be_read_is_not_taken_for_the_same(
    comparing: ComparingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing.sets_aside(b"x", **STRANGER)
    error = StorageError("a file could not be kept: EIO")
    monkeypatch.setattr(InstanceFiles, "has_same_data_set", lambda *_: (_ for _ in ()).throw(error))

    with pytest.raises(StorageError, match="EIO"):
        comparing.receives(b"x", **STRANGER)
    assert comparing.data_sets() == [b"known", b"x"]


def test_what_a_person_accepts_is_compared_with_what_is_known(comparing: ComparingNode) -> None:
    patient = incoming(patient=replace(PATIENT, patient_id="PID-2")).study
    comparing.receives(b"x", FORGED)
    number = comparing.sets_aside(b"y", FORGED, study=patient)

    assert release(comparing.db, comparing.files, number, actor="person") is StoreOutcome.REPLACED
    assert comparing.row.dataset_digest == sure_digest_of(b"y")


def test_what_a_person_accepts_is_compared_with_what_jobs_of_the_study_read_before(
    comparing: ComparingNode,
) -> None:
    comparing.receives(b"x", FORGED)
    elsewhere = {"study": incoming(study="1.2.9").study, "series": SeriesHeader("1.2.9.1", "MR")}
    number = comparing.sets_aside(b"y", FORGED, **elsewhere)
    release(comparing.db, comparing.files, number, actor="person")
    number = comparing.sets_aside(b"z", FORGED)
    release(comparing.db, comparing.files, number, actor="person")

    assert str(comparing.row.path).startswith(f"instances/{STUDY}/{SERIES}/")
    assert comparing.row.dataset_digest == sure_digest_of(b"z")
