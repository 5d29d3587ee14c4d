"""Which associations run, what they brought, and how each one ended.

Completeness of a study rests on this: a study is not complete while an association that
touched it runs, and an aborted one makes us wait longer. So no end may be missed, also when the
database is down at that moment.

A row is written with an association's first C-STORE: a C-ECHO every few seconds leaves none.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog

from node.receive.admission import Caller
from storage import associations
from storage.associations import AssociationEnd
from storage.audit import record
from storage.database import Database
from storage.errors import DatabaseUnavailable, NotFound, OutOfSpace, StorageError
from storage.event_records import AuditRecord

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class TrackedAssociation:
    """One running association; `association_id` is None until its first C-STORE."""

    caller: Caller
    association_id: int | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    met_full_disk: bool = False
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def counted(self) -> dict[str, int]:
        """How many came to what, so far."""
        with self._counting:
            return dict(self.outcomes)

    def count(self, outcome: str) -> None:
        """One more instance came to this; from any thread."""
        with self._counting:
            self.outcomes[outcome] += 1


@dataclass(frozen=True, slots=True)
class _PendingEnd:
    tracked: TrackedAssociation
    association_id: int
    end: AssociationEnd
    at: datetime


class AssociationTracker:
    """Tracks associations from their acceptance to their end; their rows say `receiver`."""

    def __init__(
        self, db: Database, on_change: Callable[[], None], receiver: str | None = None
    ) -> None:
        self._db = db
        self._receiver = receiver
        self._on_change = on_change
        self._lock = threading.Lock()
        self._running: set[TrackedAssociation] = set()
        self._pending_ends: list[_PendingEnd] = []

    def established(self, caller: Caller) -> TrackedAssociation:
        """Begin to track an accepted association."""
        tracked = TrackedAssociation(caller)
        with self._lock:
            self._running.add(tracked)
        return tracked

    def row_of(self, tracked: TrackedAssociation) -> int:
        """Return the number of an association's row, which is written if there is none yet.

        Raises:
            DatabaseUnavailable, OutOfSpace: it could not be written.
        """
        if tracked.association_id is None:
            tracked.association_id = associations.open_association(
                self._db,
                calling_ae_title=tracked.caller.calling_ae_title,
                called_ae_title=tracked.caller.called_ae_title,
                address=tracked.caller.address,
                now=datetime.now(UTC),
                receiver=self._receiver,
            )
        return tracked.association_id

    def will_bring(self, tracked: TrackedAssociation, study_instance_uid: str) -> bool:
        """Tie an association to a study before it has brought any of it; False: try again later.

        The study has to be here already: else nobody waits.
        """
        try:
            return associations.link_study(self._db, self.row_of(tracked), study_instance_uid)
        except StorageError as error:
            _log.debug("association_not_linked", reason=type(error).__name__)
            return False

    def ended(self, tracked: TrackedAssociation, end: AssociationEnd) -> None:
        """Write down how an association ended, and wake up whoever waits for studies."""
        with self._lock:
            self._running.discard(tracked)
        # Monitors send a C-ECHO every few seconds.
        log = _log.info if tracked.outcomes else _log.debug
        log(
            "association_ended",
            calling_ae_title=tracked.caller.calling_ae_title,
            address=tracked.caller.address,
            end=end,
            instances=tracked.counted(),
        )
        if tracked.association_id is not None:
            pending = _PendingEnd(tracked, tracked.association_id, end, datetime.now(UTC))
            with self._lock:
                self._pending_ends.append(pending)
        self._settle()

    def tick(self) -> None:
        """Write down ends that could not be written when they came."""
        self._settle()

    def running(self) -> int:
        """Return how many associations run."""
        return len(self._running)

    def _settle(self) -> None:
        again = []
        while pending := self._next_pending():
            try:
                self._write_end(pending)
            except NotFound:
                _log.error("association_end_not_written", reason="NotFound")
            except StorageError as error:
                again.append(pending)
                if isinstance(error, DatabaseUnavailable | OutOfSpace):
                    break
                _log.error("association_end_not_written", reason=type(error).__name__)
            else:
                self._on_change()
        with self._lock:
            self._pending_ends += again

    def _write_end(self, pending: _PendingEnd) -> None:
        """Write an end together with its line of the audit trail, or else the end: studies wait."""
        write = partial(
            associations.end_association,
            self._db,
            pending.association_id,
            end=pending.end,
            now=pending.at,
        )
        entry = _transferred(pending)
        try:
            write(audited=entry)
        except (DatabaseUnavailable, NotFound):
            raise
        except StorageError:
            if write():
                _add(self._db, entry)

    def _next_pending(self) -> _PendingEnd | None:
        with self._lock:
            return self._pending_ends.pop(0) if self._pending_ends else None


def _transferred(ended: _PendingEnd) -> AuditRecord:
    """What the audit trail says of an association's instances (PS3.15 A.5.3.7)."""
    detail = {"association_id": str(ended.association_id), "end": ended.end}
    detail |= {name: str(number) for name, number in ended.tracked.counted().items()}
    return _audit_record(
        event="dicom_instances_transferred",
        outcome="success" if ended.end == "released" else "failure",
        caller=ended.tracked.caller,
        detail=detail,
    )


def record_audit(
    db: Database, *, event: str, outcome: str, caller: Caller, detail: dict[str, str]
) -> None:
    """Write one line of the audit trail (PS3.15 A.5); a database that is down only costs it."""
    _add(db, _audit_record(event=event, outcome=outcome, caller=caller, detail=detail))


def _add(db: Database, entry: AuditRecord) -> None:
    try:
        record(db, entry)
    except StorageError as error:
        _log.error("audit_not_written", audit_event=entry.event, reason=type(error).__name__)


def _audit_record(
    *, event: str, outcome: str, caller: Caller, detail: dict[str, str]
) -> AuditRecord:
    return AuditRecord(
        at=datetime.now(UTC),
        event=event,
        outcome=outcome,
        actor=caller.calling_ae_title,
        detail={"address": caller.address, "called_ae_title": caller.called_ae_title, **detail},
    )
