"""Files are read before a transaction begins: nobody waits for a lock while that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import StoreOutcome
from storage.errors import UnreadableFile
from storage.instance_files import InstanceFiles
from storage.instances import record_instances
from tests.unit.storage.comparing_node import FORGED, ComparingNode


@pytest.fixture
def comparing(db: Database, files: InstanceFiles) -> ComparingNode:
    return ComparingNode(db, files)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read, and within which transaction, in order."""
    events: list[str] = []
    begin = Database.begin

    @contextmanager
    def begun(db: Database) -> Iterator[Session]:
        events.append("begin")
        with begin(db) as session:
            yield session
        events.append("end")

    monkeypatch.setattr(Database, "begin", begun)
    for name in ("has_same_data_set", "sure_digest"):
        _note(monkeypatch, name, getattr(InstanceFiles, name), events)
    return events


def _note(
    patch: pytest.MonkeyPatch, name: str, read: Callable[..., object], events: list[str]
) -> None:
    def noted(files: InstanceFiles, *places: str) -> object:
        events.append(f"{name} {places[0].rpartition('/')[2][:12]}")
        return read(files, *places)

    patch.setattr(InstanceFiles, name, noted)


def _outside(told: list[str]) -> list[str]:
    """What was read before the first transaction, without repetitions."""
    return told[: told.index("begin")]


def test_what_may_be_the_same_as_something_lost_gets_its_digest_before(
    comparing: ComparingNode, told: list[str]
) -> None:
    comparing.receives(b"x")
    comparing.files.absolute(comparing.row.path).unlink()
    again = comparing.on_disk(b"x")
    told.clear()

    assert record_instances(comparing.db, [again], files=comparing.files) == [StoreOutcome.REPLACED]
    assert len(_outside(told)) == 2
    assert told[len(_outside(told)) :] == ["begin", "end"]


def test_one_that_cannot_be_read_leaves_the_others_compared_before(
    comparing: ComparingNode, told: list[str]
) -> None:
    for number in (1, 2):
        comparing.receives(b"x", FORGED, number=number)
    gone, changed = (comparing.on_disk(b"y", FORGED, number=number) for number in (1, 2))
    comparing.files.absolute(gone.path).unlink()
    told.clear()

    lost, replaced = record_instances(comparing.db, [gone, changed], files=comparing.files)

    assert isinstance(lost, UnreadableFile)
    assert replaced is StoreOutcome.REPLACED
    name = changed.path.rpartition("/")[2][:12]
    reads = [f"has_same_data_set {name}", f"sure_digest {name}"]
    assert [one for one in told if name in one] == reads
    assert set(reads) <= set(_outside(told))
