"""Every rejection is counted; log and audit trail tell of it at a bearable rate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.receive.admission import Caller
from node.receive.rejection_book import MOST_ADDRESSES, MOST_PENDING, RejectionBook
from storage.audit import list_audit
from storage.database import Database
from storage.errors import StorageError
from storage.rejections import OTHERS, list_rejections
from tests.migrated_database import migrated_database

UNKNOWN = "calling_ae_title_not_recognised"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_minutes(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = migrated_database(tmp_path / "radnode.db")
    yield db
    db.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(db: Database, clock: Clock) -> RejectionBook:
    return RejectionBook(db, clock=clock)


def _caller(title: str = "STRANGER", address: str = "10.0.0.1") -> Caller:
    return Caller(title, "RADNODE", address)


def test_one_rejection_is_counted_and_audited(book: RejectionBook, db: Database) -> None:
    book.note(UNKNOWN, _caller())
    book.write()

    (count,) = list_rejections(db, 10)
    (line,) = list_audit(db, 10)
    assert (count.reason, count.calling_ae_title, count.address) == (
        UNKNOWN,
        "STRANGER",
        "10.0.0.1",
    )
    assert (line.event, line.outcome, line.actor) == ("association_rejected", "failure", "STRANGER")
    assert line.detail["reason"] == UNKNOWN
    assert line.detail["address"] == "10.0.0.1"


def test_a_flood_from_one_address_is_counted_in_full_and_told_a_few_times(
    book: RejectionBook, db: Database, clock: Clock
) -> None:
    for _ in range(1000):
        book.note(UNKNOWN, _caller())
    book.write()
    assert [count.count for count in list_rejections(db, 10)] == [1000]
    assert len(list_audit(db, 100)) == 5

    clock.pass_minutes(1)
    book.note(UNKNOWN, _caller())
    book.write()
    assert list_audit(db, 1)[0].detail["not_told_before"] == "995"


def test_another_address_is_still_told(book: RejectionBook, db: Database) -> None:
    for _ in range(100):
        book.note(UNKNOWN, _caller())
    book.note(UNKNOWN, _caller(address="10.0.0.2"))
    book.write()
    assert list_audit(db, 1)[0].detail["address"] == "10.0.0.2"


def test_one_ipv6_network_counts_as_one_neighbour(book: RejectionBook, db: Database) -> None:
    for number in range(50):
        book.note(UNKNOWN, _caller(address=f"fd00::{number:x}"))
    book.note(UNKNOWN, _caller(address="fd00:0:0:1::1"))
    book.write()
    assert len(list_audit(db, 100)) == 6


def test_many_addresses_together_are_rationed_too(book: RejectionBook, db: Database) -> None:
    for number in range(3 * MOST_ADDRESSES):
        book.note(UNKNOWN, _caller(address=f"10.1.{number // 250}.{number % 250}"))
    book.write()
    assert len(list_audit(db, 1000)) == 60


def test_random_titles_do_not_grow_the_table_and_no_count_is_lost(
    book: RejectionBook, db: Database
) -> None:
    for number in range(3 * MOST_PENDING):
        book.note(UNKNOWN, _caller(f"R{number}"))
    book.write()
    rows = list_rejections(db, 10_000)
    assert len(rows) <= MOST_PENDING + 1
    assert sum(row.count for row in rows) == 3 * MOST_PENDING
    assert OTHERS in {row.calling_ae_title for row in rows}


def test_nothing_is_lost_while_the_database_is_down(
    book: RejectionBook, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise StorageError("down")

    book.note(UNKNOWN, _caller())
    with monkeypatch.context() as outage:
        outage.setattr("node.receive.rejection_book.add_rejections", down)
        with pytest.raises(StorageError):
            book.write()
        book.note(UNKNOWN, _caller())
    book.write()
    assert [count.count for count in list_rejections(db, 10)] == [2]
    assert len(list_audit(db, 10)) == 2


def test_nothing_noted_writes_nothing(book: RejectionBook, db: Database) -> None:
    book.write()
    assert list_rejections(db, 1) == ()
