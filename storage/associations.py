"""Associations: which study came over which, and how each ended."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import CursorResult, insert, select, update

from storage.database import Database
from storage.dicom_tables import Association, AssociationStudy, Study
from storage.errors import NotFound
from storage.upsert import insert_new

AssociationEnd = Literal["released", "aborted", "lost"]


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
    with db.begin() as session:
        statement = insert(Association).values(**values).returning(Association.id)
        return session.scalars(statement).one()


def link_study(db: Database, association_id: int, study_instance_uid: str) -> bool:
    """Note that an association brings something of a study; False where that is not here."""
    link = {"association_id": association_id, "study_instance_uid": study_instance_uid}
    with db.begin() as session:
        if session.get(Study, study_instance_uid) is None:
            return False
        insert_new(session, AssociationStudy, link)
        return True


def end_association(
    db: Database, association_id: int, *, end: AssociationEnd, now: datetime
) -> tuple[str, ...]:
    """Record how an association ended and return the UIDs of the studies it touched.

    The first end counts: ending it again changes nothing.

    Raises:
        NotFound: there is no such association.
    """
    with db.begin() as session:
        association = session.get(Association, association_id, with_for_update=True)
        if association is None:
            raise NotFound(f"there is no association {association_id}")
        if association.ended_at is None:
            association.end, association.ended_at = end, now
        touched = select(AssociationStudy.study_instance_uid).where(
            AssociationStudy.association_id == association_id
        )
        return tuple(sorted(session.scalars(touched)))


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
