from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from storage.audit import list_audit, record
from storage.change_watch import ChangeWatch
from storage.database import Database, open_database
from storage.event_records import AuditRecord
from tests.peers.ports import free_port
from tests.unit.storage.samples import NOW

_ENTRY = AuditRecord(NOW, "110100", "success", "somebody", {})


@pytest.fixture
def watch(db: Database) -> Iterator[ChangeWatch]:
    watch = ChangeWatch(db)
    yield watch
    watch.close()


def test_marks_are_equal_while_nobody_commits(db: Database, watch: ChangeWatch) -> None:
    before = watch.mark()
    list_audit(db, limit=1)

    assert watch.mark() == before


def test_a_commit_changes_the_mark_once(db: Database, watch: ChangeWatch) -> None:
    before = watch.mark()
    record(db, _ENTRY)
    after = watch.mark()

    assert after != before
    assert watch.mark() == after


def test_a_commit_from_elsewhere_is_seen(db_url: str, watch: ChangeWatch) -> None:
    before = watch.mark()
    other = open_database(db_url)
    record(other, _ENTRY)
    other.close()

    assert watch.mark() != before


def test_what_had_begun_before_a_mark_and_is_committed_after_it_is_seen(
    db: Database, watch: ChangeWatch
) -> None:
    record(db, _ENTRY)
    with db.begin() as session:
        session.execute(text("UPDATE audit SET actor = 'somebody else'"))
        before = watch.mark()

    assert watch.mark() != before


def test_a_mark_of_a_new_connection_differs_from_all_before(watch: ChangeWatch) -> None:
    before = watch.mark()
    watch.close()

    assert watch.mark() != before


def test_while_the_database_is_away_every_mark_differs() -> None:
    watch = ChangeWatch(open_database(f"postgresql://radnode@127.0.0.1:{free_port()}/hospital"))

    assert watch.mark() != watch.mark()
