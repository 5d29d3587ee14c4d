"""The audit trail: rows are added and read, never changed, and deleted when they are old."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from storage.database import Database, DriverTransaction
from storage.event_records import AuditRecord
from storage.job_tables import Audit
from storage.prepared import Prepared, bound

_PRUNED_AT_ONCE = 500
"""Short transactions: receiving must not wait for housekeeping."""


def _add(_dialect: Dialect) -> ClauseElement:
    columns = [column for column in Audit.__table__.columns if column.key != "id"]
    return insert(Audit).values(bound(columns))


_ADD = Prepared(_add)


def record(db: Database, entry: AuditRecord) -> None:
    """Add one entry."""
    with db.drive() as driver:
        record_in(driver, entry)


def record_in(driver: DriverTransaction, entry: AuditRecord) -> None:
    """Add one entry in a transaction that goes on."""
    values = {
        "at": entry.at,
        "event": entry.event,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "detail": dict(entry.detail),
    }
    _ADD.run(driver, [values])


def prune_audit(db: Database, *, older_than: datetime) -> int:
    """Delete the entries from before `older_than`, some at a time; how many.

    A database that stops in between has lost nothing: the next call goes on.
    """
    pruned = 0
    while entries := _prune_some(db, older_than):
        pruned += entries
    return pruned


def _prune_some(db: Database, older_than: datetime) -> int:
    with db.begin() as session:
        oldest = select(Audit.id).where(Audit.at < older_than).order_by(Audit.id)
        ids = session.scalars(oldest.limit(_PRUNED_AT_ONCE)).all()
        session.execute(
            delete(Audit).where(Audit.id.in_(ids)),
            execution_options={"synchronize_session": False},
        )
        return len(ids)


def list_audit(db: Database, limit: int) -> tuple[AuditRecord, ...]:
    """The newest entries first."""
    statement = select(Audit).order_by(Audit.id.desc()).limit(limit)
    with db.read() as session:
        return tuple(_entry(row) for row in session.scalars(statement))


def _entry(row: Audit) -> AuditRecord:
    return AuditRecord(row.at, row.event, row.outcome, row.actor, dict(row.detail))
