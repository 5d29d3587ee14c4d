"""Which associations run, what they brought, and how each one ended.

Completeness of a study rests on this: a study is not complete while an association that
touched it runs, and an aborted one makes us wait longer. So no end may be missed: when the
peer vanishes, when pynetdicom's own thread dies, and when the database is down at that moment.

A row is written with an association's first C-STORE: a C-ECHO every few seconds leaves none.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from node.receive.admission import Caller
from storage import associations
from storage.associations import AssociationEnd
from storage.audit import record
from storage.database import Database
from storage.errors import DatabaseUnavailable, OutOfSpace, StorageError
from storage.records import AuditRecord

_log = structlog.get_logger()


@dataclass(slots=True)
class TrackedAssociation:
    """One running association; `association_id` is None until its first C-STORE."""

    caller: Caller
    association_id: int | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    end: AssociationEnd = "aborted"
    met_full_disk: bool = False


@dataclass(frozen=True, slots=True)
class _PendingEnd:
    tracked: TrackedAssociation
    association_id: int
    end: AssociationEnd
    at: datetime


class AssociationTracker:
    """Tracks pynetdicom's association threads from acceptance to their end."""

    def __init__(self, db: Database, on_change: Callable[[], None]) -> None:
        self._db = db
        self._on_change = on_change
        self._lock = threading.Lock()
        self._running: dict[Any, TrackedAssociation] = {}
        self._pending_ends: list[_PendingEnd] = []

    def established(self, assoc: Any, caller: Caller) -> None:
        """Begin to track an accepted association."""
        with self._lock:
            self._running[assoc] = TrackedAssociation(caller)

    def of(self, assoc: Any) -> TrackedAssociation:
        """Return what is known of a running association, its row included.

        Raises:
            KeyError: it has ended meanwhile. DatabaseUnavailable: its row could not be written.
        """
        tracked = self._running[assoc]
        if tracked.association_id is None:
            tracked.association_id = associations.open_association(
                self._db,
                calling_ae_title=tracked.caller.calling_ae_title,
                called_ae_title=tracked.caller.called_ae_title,
                address=tracked.caller.address,
                now=datetime.now(UTC),
            )
        return tracked

    def count(self, assoc: Any, outcome: str) -> None:
        """Count what became of one instance."""
        if tracked := self._running.get(assoc):
            tracked.outcomes[outcome] += 1

    def first_disk_full(self, assoc: Any) -> Caller | None:
        """Note that the disk is full; the caller, unless that was noted before."""
        tracked = self._running.get(assoc)
        if tracked is None or tracked.met_full_disk:
            return None
        tracked.met_full_disk = True
        return tracked.caller

    def connection_lost(self, assoc: Any) -> None:
        """Note that the coming abort is not the peer's word but its silence."""
        if tracked := self._running.get(assoc):
            tracked.end = "lost"

    def aborted(self, assoc: Any) -> None:
        """End an association that was aborted by either side, or lost."""
        if tracked := self._running.get(assoc):
            self.ended(assoc, tracked.end)

    def ended(self, assoc: Any, end: AssociationEnd) -> None:
        """Write down how an association ended, and wake up whoever waits for studies."""
        with self._lock:
            tracked = self._running.pop(assoc, None)
        if tracked is None:
            return
        _discard_unfinished(assoc)
        # Monitors send a C-ECHO every few seconds.
        log = _log.info if tracked.outcomes else _log.debug
        log(
            "association_ended",
            calling_ae_title=tracked.caller.calling_ae_title,
            address=tracked.caller.address,
            end=end,
            instances=dict(tracked.outcomes),
        )
        if tracked.association_id is not None:
            pending = _PendingEnd(tracked, tracked.association_id, end, datetime.now(UTC))
            with self._lock:
                self._pending_ends.append(pending)
        self._settle()

    def tick(self) -> None:
        """Find associations whose thread has died, and write down ends that could not be."""
        with self._lock:
            dead = [assoc for assoc in self._running if not assoc.is_alive()]
        for assoc in dead:
            self.ended(assoc, "lost")
        self._settle()

    def running(self) -> int:
        """Return how many associations run."""
        return len(self._running)

    def _settle(self) -> None:
        while pending := self._next_pending():
            try:
                associations.end_association(
                    self._db, pending.association_id, end=pending.end, now=pending.at
                )
            except (DatabaseUnavailable, OutOfSpace):
                with self._lock:
                    self._pending_ends.append(pending)
                return
            except StorageError as error:
                _log.error("association_end_not_written", reason=type(error).__name__)
                continue
            self._audit(pending)
            self._on_change()

    def _next_pending(self) -> _PendingEnd | None:
        with self._lock:
            return self._pending_ends.pop(0) if self._pending_ends else None

    def _audit(self, pending: _PendingEnd) -> None:
        detail = {"association_id": str(pending.association_id), "end": pending.end}
        detail |= {name: str(number) for name, number in pending.tracked.outcomes.items()}
        record_audit(
            self._db,
            event="dicom_instances_transferred",
            outcome="success" if pending.end == "released" else "failure",
            caller=pending.tracked.caller,
            detail=detail,
        )


def record_audit(
    db: Database, *, event: str, outcome: str, caller: Caller, detail: dict[str, str]
) -> None:
    """Write one line of the audit trail (PS3.15 A.5); a database that is down only costs it."""
    entry = AuditRecord(
        at=datetime.now(UTC),
        event=event,
        outcome=outcome,
        actor=caller.calling_ae_title,
        detail={"address": caller.address, "called_ae_title": caller.called_ae_title, **detail},
    )
    try:
        record(db, entry)
    except StorageError as error:
        _log.error("audit_not_written", audit_event=event, reason=type(error).__name__)


def _discard_unfinished(assoc: Any) -> None:
    """Delete the temporary file of a C-STORE that never ended: it holds patient data."""
    file = getattr(assoc.dimse.message, "_data_set_file", None)
    if file is not None:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            Path(file.name).unlink()
