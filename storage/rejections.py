"""How often callers were turned away: one row for each reason, title and address, and bounded.

Whoever tries random titles from many addresses must not make the table grow: beyond so many rows
the rarest are folded into one row a reason, so that the sums stay right and a PACS that knocks
all day stays visible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from storage.database import Database
from storage.job_tables import Rejected

OTHERS = "(others)"
MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class RejectionCount:
    """How often callers with this title from this address met this reason, and when."""

    reason: str
    calling_ae_title: str
    address: str
    count: int
    first_at: datetime
    last_at: datetime


def add_rejections(
    db: Database, counts: Iterable[RejectionCount], *, most_rows: int = MOST_ROWS
) -> None:
    """Add to the counts; beyond `most_rows` the rarest rows, oldest first, become `OTHERS`."""
    with db.begin() as session:
        # In one order, so that two processes do not wait for each other.
        for count in sorted(counts, key=_key):
            _add(session, count)
        surplus = _surplus(session, most_rows)
        for row in surplus:
            folded = RejectionCount(
                row.reason, OTHERS, OTHERS, row.count, row.first_at, row.last_at
            )
            session.delete(row)
            _add(session, folded)


def _key(count: RejectionCount) -> tuple[str, str, str]:
    return count.reason, count.calling_ae_title, count.address


def _add(session: Session, count: RejectionCount) -> None:
    values = {
        "reason": count.reason,
        "calling_ae_title": count.calling_ae_title,
        "address": count.address,
        "count": count.count,
        "first_at": count.first_at,
        "last_at": count.last_at,
    }
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    insert = (
        postgresql.insert(Rejected).values(**values)
        if is_postgresql
        else sqlite.insert(Rejected).values(**values)
    )
    statement = insert.on_conflict_do_update(
        index_elements=["reason", "calling_ae_title", "address"],
        set_={"count": Rejected.count + count.count, "last_at": count.last_at},
    )
    session.execute(statement)


def _surplus(session: Session, most_rows: int) -> list[Rejected]:
    named = Rejected.address != OTHERS
    rows = session.scalar(select(func.count()).select_from(Rejected).where(named)) or 0
    if rows <= most_rows:
        return []
    rarest = (
        select(Rejected).where(named).order_by(Rejected.count, Rejected.last_at, Rejected.address)
    )
    # Another process may be folding the same ones at this moment.
    mine = rarest.limit(rows - most_rows).with_for_update(skip_locked=True)
    return list(session.scalars(mine))


def list_rejections(db: Database, limit: int | None = None) -> tuple[RejectionCount, ...]:
    """Return the counts, those that were seen last first; all of them without `limit`."""
    statement = select(Rejected).order_by(
        Rejected.last_at.desc(), Rejected.reason, Rejected.calling_ae_title, Rejected.address
    )
    with db.read() as session:
        return tuple(_count(row) for row in session.scalars(statement.limit(limit)))


def _count(row: Rejected) -> RejectionCount:
    return RejectionCount(
        row.reason, row.calling_ae_title, row.address, row.count, row.first_at, row.last_at
    )


def prune_rejections(db: Database, *, older_than: datetime) -> None:
    """Delete the counts that have not grown since `older_than`."""
    with db.begin() as session:
        session.execute(
            delete(Rejected).where(Rejected.last_at < older_than),
            execution_options={"synchronize_session": False},
        )
