"""No end of an association is missed, and none is audited twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from node.receive.admission import Caller
from node.receive.association_tracking import AssociationTracker, TrackedAssociation
from storage import associations
from storage.associations import serving_receivers
from storage.audit import list_audit
from storage.database import Database
from storage.errors import DatabaseUnavailable, OutOfSpace, StorageError
from tests.migrated_database import migrated_database

RECEIVER = "radnode/ab/7"
CALLER = Caller(calling_ae_title="PACS", called_ae_title="RADNODE", address="192.0.2.1")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = migrated_database(tmp_path / "radnode.db")
    yield db
    db.close()


class Looks:
    """Who waits for studies, and how often it was woken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def tracker(db: Database, looks: Looks) -> AssociationTracker:
    return AssociationTracker(db, looks, RECEIVER)


def _with_one_instance(tracker: AssociationTracker) -> TrackedAssociation:
    tracked = tracker.established(CALLER)
    tracker.row_of(tracked)
    tracked.count("stored")
    return tracked


def _refuse_audit(db: Database) -> None:
    with db.connect() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER refused BEFORE INSERT ON audit "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        )


def test_an_end_is_written_with_its_line_of_the_audit_trail(
    db: Database, tracker: AssociationTracker, looks: Looks
) -> None:
    tracked = _with_one_instance(tracker)
    assert serving_receivers(db) == {RECEIVER}
    tracker.ended(tracked, "released")
    assert serving_receivers(db) == frozenset()
    (entry,) = list_audit(db, limit=10)
    assert (entry.event, entry.outcome) == ("dicom_instances_transferred", "success")
    assert entry.detail == {
        "address": "192.0.2.1",
        "called_ae_title": "RADNODE",
        "association_id": str(tracked.association_id),
        "end": "released",
        "stored": "1",
    }
    assert looks.count == 1


def test_an_audit_trail_that_takes_nothing_costs_its_line_and_not_the_end(
    db: Database, tracker: AssociationTracker, looks: Looks
) -> None:
    tracked = _with_one_instance(tracker)
    _refuse_audit(db)
    tracker.ended(tracked, "aborted")
    assert serving_receivers(db) == frozenset()
    assert list_audit(db, limit=10) == ()
    assert looks.count == 1


def test_an_end_whose_commit_was_not_heard_of_is_told_again_and_audited_once(
    db: Database, tracker: AssociationTracker, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = _with_one_instance(tracker)
    with monkeypatch.context() as patch:
        _after_each_call(patch, DatabaseUnavailable("the answer to COMMIT was lost"))
        tracker.ended(tracked, "released")
    assert looks.count == 0
    tracker.tick()
    assert looks.count == 1
    assert len(list_audit(db, limit=10)) == 1


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), OutOfSpace("full"), StorageError("refused")]
)
def test_an_end_that_cannot_be_written_is_written_later(
    db: Database,
    tracker: AssociationTracker,
    looks: Looks,
    monkeypatch: pytest.MonkeyPatch,
    error: StorageError,
) -> None:
    tracked = _with_one_instance(tracker)
    with monkeypatch.context() as patch:
        _instead_of_each_call(patch, error)
        tracker.ended(tracked, "aborted")
        tracker.tick()
    assert (serving_receivers(db), looks.count) == (frozenset({RECEIVER}), 0)
    tracker.tick()
    assert (serving_receivers(db), looks.count) == (frozenset(), 1)
    assert [entry.outcome for entry in list_audit(db, limit=10)] == ["failure"]


def test_an_end_that_is_refused_holds_no_other(
    db: Database, tracker: AssociationTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, other = _with_one_instance(tracker), _with_one_instance(tracker)
    really = associations.end_association

    def end(db: Database, association_id: int, **options: Any) -> bool:
        if association_id == refused.association_id:
            raise StorageError("refused")
        return really(db, association_id, **options)

    with monkeypatch.context() as patch:
        patch.setattr(associations, "end_association", end)
        tracker.ended(refused, "released")
        tracker.ended(other, "released")
    assert [entry.detail["association_id"] for entry in list_audit(db, limit=10)] == [
        str(other.association_id)
    ]
    tracker.tick()
    assert serving_receivers(db) == frozenset()


def test_the_end_of_an_association_that_was_deleted_is_told_once(
    db: Database, tracker: AssociationTracker, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked = _with_one_instance(tracker)
    with db.connect() as connection:
        connection.execute(text("DELETE FROM association"))
    tracker.ended(tracked, "released")
    tracker.tick()
    assert capsys.readouterr().out.count("association_end_not_written") == 1


def _after_each_call(patch: pytest.MonkeyPatch, error: StorageError) -> None:
    really = associations.end_association

    def end_and_fail(*args: Any, **options: Any) -> bool:
        really(*args, **options)
        raise error

    patch.setattr(associations, "end_association", end_and_fail)


def _instead_of_each_call(patch: pytest.MonkeyPatch, error: StorageError) -> None:
    def fail(*_args: Any, **_options: Any) -> bool:
        raise error

    patch.setattr(associations, "end_association", fail)
