"""Associations: which study came over which, and how each ended."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import CursorResult, bindparam, insert, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from storage.audit import record_in
from storage.database import Database
from storage.dicom_tables import Association, AssociationStudy, Study
from storage.errors import NotFound
from storage.event_records import AuditRecord
from storage.prepared import Prepared, bound
from storage.upsert import insert_new

AssociationEnd = Literal["released", "aborted", "lost"]

_GIVEN_AT_FIRST = ("calling_ae_title", "called_ae_title", "address", "opened_at", "receiver")


def _open(_dialect: Dialect) -> ClauseElement:
    columns = [Association.__table__.columns[name] for name in _GIVEN_AT_FIRST]
    return insert(Association).values(bound(columns)).returning(Association.id)


def _end(_dialect: Dialect) -> ClauseElement:
    is_running = Association.ended_at.is_(None)
    return (
        update(Association)
        .where(Association.id == bindparam("its_id"), is_running)
        .values(
            end=bindparam("its_end", type_=Association.end.type),
            ended_at=bindparam("ended_then", type_=Association.ended_at.type),
        )
    )


def _known(_dialect: Dialect) -> ClauseElement:
    return select(Association.id).where(Association.id == bindparam("its_id"))


_OPEN = Prepared(_open)
_END = Prepared(_end)
_KNOWN = Prepared(_known)


def open_association(
    db: Database,
    *,
    calling_ae_title: str,
    called_ae_title: str,
    address: str,
    now: datetime,
    receiver: str | None = None,
) -> int:
    """Record an association that `receiver`, a process, has accepted, and return its number."""
    values = {
        "calling_ae_title": calling_ae_title,
        "called_ae_title": called_ae_title,
        "address": address,
        "opened_at": now,
        "receiver": receiver,
    }
    with db.drive() as driver:
        ((association_id,),) = _OPEN.rows(driver, values)
        return int(association_id)


def link_study(db: Database, association_id: int, study_instance_uid: str) -> bool:
    """Note that an association brings something of a study; False where that is not here."""
    link = {"association_id": association_id, "study_instance_uid": study_instance_uid}
    with db.begin() as session:
        if session.get(Study, study_instance_uid) is None:
            return False
        insert_new(session, AssociationStudy, link)
        return True


def end_association(
    db: Database,
    association_id: int,
    *,
    end: AssociationEnd,
    now: datetime,
    audited: AuditRecord | None = None,
) -> bool:
    """Record how an association ended; False, and nothing changes, where it had ended before.

    `audited` is added to the audit trail in the same transaction, and only with the end that
    counts: whoever does not know whether the database has heard of an end may tell it again.

    Raises:
        NotFound: there is no such association.
    """
    with db.drive() as driver:
        its = {"its_id": association_id}
        ends_now = _END.run(driver, [{**its, "its_end": end, "ended_then": now}]) == 1
        if not ends_now and not _KNOWN.rows(driver, its):
            raise NotFound(f"there is no association {association_id}")
        if ends_now and audited is not None:
            record_in(driver, audited)
        return ends_now


def serving_receivers(db: Database) -> frozenset[str | None]:
    """The processes that, by the books, serve an association; None: not known which."""
    statement = select(Association.receiver).where(Association.ended_at.is_(None)).distinct()
    with db.read() as session:
        return frozenset(session.scalars(statement))


def lose_associations_of(db: Database, receiver: str | None, *, now: datetime) -> int:
    """After the death of one receiver: what it served was lost; the others' goes on."""
    is_its = Association.receiver == receiver  # None: IS NULL
    statement = update(Association).where(Association.ended_at.is_(None), is_its)
    with db.begin() as session:
        result = session.execute(statement.values(end="lost", ended_at=now))
        return result.rowcount if isinstance(result, CursorResult) else 0
