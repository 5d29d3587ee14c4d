"""Lines of the audit trail that the service itself writes (event kinds of PS3.15 A.5.3).

They name jobs, deliveries and destinations, never a patient: who that was stands in the rows
that the numbers lead to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import structlog

from storage import audit
from storage.database import Database
from storage.errors import StorageError
from storage.event_records import AuditRecord

log = structlog.get_logger()


class AuditEvent(StrEnum):
    """What happened, by the standard's names for its event identifiers."""

    APPLICATION_START = "application_start"
    APPLICATION_STOP = "application_stop"
    INSTANCES_ACCESSED = "dicom_instances_accessed"
    INSTANCES_TRANSFERRED = "dicom_instances_transferred"
    EXPORT = "export"


def note(db: Database, event: AuditEvent, *, actor: str, **detail: object) -> None:
    """Add one line; a database that is away costs the line, not the act."""
    texts = {name: str(value) for name, value in detail.items()}
    try:
        audit.record(db, AuditRecord(datetime.now(UTC), event, "success", actor, texts))
    except StorageError as error:
        log.error("audit_not_written", audit_event=event, error=type(error).__name__)
