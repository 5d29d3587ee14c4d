from __future__ import annotations

from storage.audit import list_audit, prune_audit, record
from storage.database import Database
from storage.event_records import AuditRecord
from tests.unit.storage.samples import after


def test_entries_come_back_newest_first(db: Database) -> None:
    entries = [
        AuditRecord(after(number), "110104", "success", "PACS", {"study": f"tag{number}"})
        for number in range(3)
    ]
    for entry in entries:
        record(db, entry)
    assert list_audit(db, 2) == (entries[2], entries[1])


def test_old_entries_are_pruned_however_many_and_the_newer_stay(db: Database) -> None:
    for number in range(1203):
        record(db, AuditRecord(after(number), "110104", "success", "PACS", {}))

    assert prune_audit(db, older_than=after(1200)) == 1200
    assert [entry.at for entry in list_audit(db, 10)] == [after(1202), after(1201), after(1200)]
    assert prune_audit(db, older_than=after(1200)) == 0
