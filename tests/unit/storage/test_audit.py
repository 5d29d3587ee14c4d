from __future__ import annotations

from storage.audit import list_audit, record
from storage.database import Database
from storage.records import AuditRecord
from tests.unit.storage.samples import after


def test_entries_come_back_newest_first(db: Database) -> None:
    entries = [
        AuditRecord(after(number), "110104", "success", "PACS", {"study": f"tag{number}"})
        for number in range(3)
    ]
    for entry in entries:
        record(db, entry)
    assert list_audit(db, 2) == (entries[2], entries[1])
