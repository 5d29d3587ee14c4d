"""Instances that contradict what is known, kept aside until a person decides.

The file lies in a folder of its own; the row says by a code what differs. Nothing of it takes part
in a study, a count or a job. A sender that tries again makes no second row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dataset_digest import is_sure
from storage.dicom_records import IncomingInstance
from storage.dicom_tables import QuarantinedInstance
from storage.errors import ConflictReason, Contended, IdentityConflict, NotFound, Quarantined
from storage.instance_files import InstanceFiles, uid_tag
from storage.job_tables import Audit
from storage.same_content import Content, SameContent
from storage.table_types import storable_map
from storage.upsert import insert_new

TRIES = 3
"""So often it is looked for what others keep aside at the same moment."""
COPIED = (
    "sop_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "instance_number",
    "size_bytes",
    "dataset_digest",
    "calling_ae_title",
    "is_own_result",
    "received_at",
)


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """One instance kept aside: what differs, when it came, from whom; no patient data."""

    quarantine_id: int
    reason: ConflictReason
    quarantined_at: datetime
    calling_ae_title: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    size_bytes: int


def quarantine(
    db: Database, files: InstanceFiles, incoming: IncomingInstance, conflict: IdentityConflict
) -> Quarantined:
    """Keep a refused instance aside, file and row; what to raise to its caller.

    Raises:
        StorageError: it could not be kept aside; the caller sees to the file at its old place.
    """
    same = SameContent(files)
    for _ in range(TRIES):
        kept = _kept(db, incoming)
        quarantine_id = next(
            (key for key, one in kept.items() if same.is_same(incoming, one)), None
        )
        if quarantine_id is None:
            quarantine_id = _set_aside(db, files, same.apart(incoming, kept.values()), conflict)
        if quarantine_id is not None:
            # Not before the commit: killed in between, an acknowledged file would be nobody's.
            files.discard(incoming.path)
            return Quarantined(quarantine_id, conflict)
    raise Contended("others keep the same instance aside, and delete it, again and again")


def list_quarantine(db: Database, limit: int | None = None) -> tuple[QuarantinedRecord, ...]:
    """What is kept aside, newest first; all of it without `limit`."""
    newest = select(QuarantinedInstance).order_by(QuarantinedInstance.id.desc())
    with db.read() as session:
        return tuple(_record(row) for row in session.scalars(newest.limit(limit)))


def quarantine_count(db: Database) -> int:
    """How many instances are kept aside."""
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(QuarantinedInstance)) or 0


def discard(db: Database, files: InstanceFiles, quarantine_id: int, *, actor: str) -> None:
    """Delete one instance that is kept aside; what is known stays as it is.

    Raises:
        NotFound: it is not, or no longer, kept aside.
    """
    with db.begin() as session:
        row = session.get(QuarantinedInstance, quarantine_id, with_for_update=True)
        if row is None:
            raise NotFound(f"there is no quarantine {quarantine_id}")
        session.add(audit_line(row, "quarantine_discarded", actor))
        session.delete(row)
        place = row.path
    files.discard(place)


def purge_quarantine(db: Database, files: InstanceFiles, *, older_than: datetime) -> int:
    """Delete what has been kept aside since before `older_than`; how many instances."""
    table = QuarantinedInstance
    with db.begin() as session:
        statement = delete(table).where(table.quarantined_at < older_than).returning(table.path)
        places = session.scalars(statement).all()
    for place in places:
        files.discard(place)
    return len(places)


def audit_line(row: QuarantinedInstance, event: str, actor: str) -> Audit:
    """What is written down about one that came, was accepted or deleted."""
    detail = {
        "reason": row.reason.value,
        "study": uid_tag(row.study_instance_uid),
        "series": uid_tag(row.series_instance_uid),
        "instance": uid_tag(row.sop_instance_uid),
    }
    now = datetime.now(UTC)
    return Audit(at=now, event=event, outcome="success", actor=actor, detail=detail)


def _kept(db: Database, incoming: IncomingInstance) -> dict[int, Content]:
    """What is kept aside under the same UID, by number."""
    columns = QuarantinedInstance.id, QuarantinedInstance.path, QuarantinedInstance.dataset_digest
    is_of_uid = QuarantinedInstance.sop_instance_uid == incoming.sop_instance_uid
    with db.read() as session:
        rows = session.execute(select(*columns).where(is_of_uid).order_by(QuarantinedInstance.id))
        return {number: Content(*content) for number, *content in rows}


def _set_aside(
    db: Database, files: InstanceFiles, incoming: IncomingInstance, conflict: IdentityConflict
) -> int | None:
    """Give it a row of its own; None: another association was first with the same digest."""
    aside = files.set_aside(incoming.path)
    values = _columns(incoming, conflict) | {"path": aside}
    number: int | None
    needless = ""
    with db.begin() as session:
        added = insert_new(session, QuarantinedInstance, values)
        if added is not None:
            session.add(audit_line(added, "instance_quarantined", incoming.calling_ae_title))
            session.flush()
            number = added.id
        else:
            number, needless = _given_file(session, incoming, aside)
    if needless:
        files.discard(needless)
    return number


def _given_file(session: Session, incoming: IncomingInstance, aside: str) -> tuple[int | None, str]:
    """Give the row that has the same digest this file; its number, and the file that is left over.

    Only where the digest is sure: whichever file the row names, it has the same bytes, or is lost.
    """
    if not is_sure(incoming.dataset_digest):
        return None, aside
    statement = select(QuarantinedInstance).where(
        QuarantinedInstance.sop_instance_uid == incoming.sop_instance_uid,
        QuarantinedInstance.dataset_digest == incoming.dataset_digest,
    )
    row = session.scalars(statement.with_for_update()).one_or_none()
    if row is None:
        return None, aside
    former, row.path = row.path, aside
    return row.id, former


def _columns(incoming: IncomingInstance, conflict: IdentityConflict) -> dict[str, object]:
    return {name: getattr(incoming, name) for name in COPIED} | {
        "reason": conflict.reason,
        "quarantined_at": datetime.now(UTC),
        "study_instance_uid": incoming.study.study_instance_uid,
        "series_instance_uid": incoming.series.series_instance_uid,
        "study_header": storable_map(asdict(incoming.study)),
        "series_header": storable_map(asdict(incoming.series)),
    }


def _record(row: QuarantinedInstance) -> QuarantinedRecord:
    return QuarantinedRecord(
        quarantine_id=row.id,
        reason=row.reason,
        quarantined_at=row.quarantined_at,
        calling_ae_title=row.calling_ae_title,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        size_bytes=row.size_bytes,
    )
