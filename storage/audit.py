"""The audit trail: rows are added and read, never changed."""

from __future__ import annotations

from sqlalchemy import insert, select

from storage.database import Database
from storage.job_tables import Audit
from storage.records import AuditRecord


def record(db: Database, entry: AuditRecord) -> None:
    """Add one entry."""
    values = {
        "at": entry.at,
        "event": entry.event,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "detail": dict(entry.detail),
    }
    with db.begin() as session:
        session.execute(insert(Audit).values(**values))


def list_audit(db: Database, limit: int) -> tuple[AuditRecord, ...]:
    """The newest entries first."""
    statement = select(Audit).order_by(Audit.id.desc()).limit(limit)
    with db.read() as session:
        return tuple(_entry(row) for row in session.scalars(statement))


def _entry(row: Audit) -> AuditRecord:
    return AuditRecord(row.at, row.event, row.outcome, row.actor, dict(row.detail))
