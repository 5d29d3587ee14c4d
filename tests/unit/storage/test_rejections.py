"""Counts of rejected callers stay exact and their table stays small."""

from __future__ import annotations

from storage.database import Database
from storage.rejections import (
    OTHERS,
    RejectionCount,
    add_rejections,
    list_rejections,
    prune_rejections,
)
from tests.unit.storage.samples import after

UNKNOWN = "calling_ae_title_not_recognised"


def _count(title: str, minute: int, count: int = 1, reason: str = UNKNOWN) -> RejectionCount:
    return RejectionCount(reason, title, "10.0.0.1", count, after(minute), after(minute))


def test_repeated_rejections_make_one_row_that_counts(db: Database) -> None:
    add_rejections(db, [_count("CT9", 1, 2)])
    add_rejections(db, [_count("CT9", 5, 3)])

    assert list_rejections(db, 10) == (
        RejectionCount(UNKNOWN, "CT9", "10.0.0.1", 5, after(1), after(5)),
    )


def test_each_reason_has_a_row_of_its_own_and_the_newest_comes_first(db: Database) -> None:
    add_rejections(db, [_count("A", 1), _count("A", 2, reason="disk_low"), _count("B", 3)])

    found = [(row.calling_ae_title, row.reason) for row in list_rejections(db, 2)]
    assert found == [("B", UNKNOWN), ("A", "disk_low")]


def test_random_titles_are_folded_into_one_row_and_no_count_is_lost(db: Database) -> None:
    add_rejections(db, [_count("KNOCKS-DAILY", 0, 100)], most_rows=5)
    for minute in range(1, 5):
        titles = [_count(f"RANDOM{minute}{number}", minute) for number in range(10)]
        add_rejections(db, titles, most_rows=5)

    rows = {row.calling_ae_title: row.count for row in list_rejections(db, 1000)}
    assert len(rows) == 6
    assert rows["KNOCKS-DAILY"] == 100
    assert rows[OTHERS] == 36
    assert sum(rows.values()) == 140


def test_counts_that_no_longer_grow_are_pruned(db: Database) -> None:
    add_rejections(db, [_count("OLD", 1), _count("NEW", 9)])

    prune_rejections(db, older_than=after(5))

    assert [row.calling_ae_title for row in list_rejections(db, 10)] == ["NEW"]
