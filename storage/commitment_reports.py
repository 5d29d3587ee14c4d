"""Storage commitment as SCP: requests, and the reports that we owe for them (PS3.4 J).

A request is a list of instances like any other, so it counts as evidence, too; that we owe an
answer is a row of its own, which outlives a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, exists, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_tables import Instance, QuarantinedInstance
from storage.evidence_records import CommitmentDue, IncomingList, ListedSop, ReportState
from storage.evidence_tables import CommitmentReport, InstanceList, ListedInstance
from storage.instance_lists import add_list
from storage.upsert import insert_new

# Put together once: it is asked twice a second, and building it takes longest.
_DUE = (
    select(CommitmentReport, InstanceList.calling_ae_title)
    .join(InstanceList, InstanceList.id == CommitmentReport.list_id)
    .where(
        CommitmentReport.state == ReportState.WAITING, CommitmentReport.due_at <= bindparam("by")
    )
    .order_by(CommitmentReport.due_at, CommitmentReport.list_id)
    .limit(bindparam("most"))
)


class KeptInstance(NamedTuple):
    """What the books say of one instance: its SOP Class, file and size."""

    sop_class_uid: str
    path: str
    size_bytes: int


def request_commitment(db: Database, incoming: IncomingList) -> bool:
    """Keep a request and owe its report; False where its Transaction UID was used before.

    The same list under the same UID is reported again: the first report was lost on its way.
    Another list under a known UID is to be reported as failed in whole.
    """
    with db.begin() as session:
        list_id = add_list(session, incoming)
        if list_id is not None:
            _owe(session, list_id, incoming, is_duplicate=False)
            return True
        known = _known_list(session, incoming)
        wanted = {each.sop_instance_uid for each in incoming.instances}
        if {each.sop_instance_uid for each in _instances(session, known)} == wanted:
            _owe(session, known, incoming, is_duplicate=False)
        else:
            name = f"{incoming.list_uid} {incoming.received_at.isoformat()}"
            other = add_list(session, replace(incoming, list_uid=name))
            if other is not None:
                _owe(session, other, incoming, is_duplicate=True)
        return False


def due_commitments(db: Database, *, now: datetime, limit: int = 10) -> tuple[CommitmentDue, ...]:
    """The requests whose report is due, longest due first."""
    with db.read() as session:
        rows = session.execute(_DUE, {"by": now, "most": limit}).all()
        return tuple(
            CommitmentDue(
                list_id=report.list_id,
                transaction_uid=report.transaction_uid,
                calling_ae_title=calling_ae_title,
                is_duplicate=report.is_duplicate,
                attempts=report.attempts,
                requested_at=report.requested_at,
                instances=_instances(session, report.list_id),
            )
            for report, calling_ae_title in rows
        )


def postpone_report(db: Database, due: CommitmentDue, *, due_at: datetime, reason: str) -> None:
    """The report could not be given, or is too early: again at `due_at`."""
    attempts = due.attempts + 1
    _change(db, due, {"attempts": attempts, "due_at": due_at, "reason_text": reason})


def settle_report(db: Database, due: CommitmentDue, state: ReportState, *, now: datetime) -> None:
    """The report was given, or given up."""
    _change(db, due, {"state": state, "settled_at": now, "attempts": due.attempts + 1})


def kept_instances(db: Database, sop_instance_uids: tuple[str, ...]) -> Mapping[str, KeptInstance]:
    """What the books say of those of the instances that are here.

    What has a version in quarantine is not: which of the two stays, only a person can say.
    """
    columns = Instance.sop_instance_uid, Instance.sop_class_uid, Instance.path, Instance.size_bytes
    is_set_aside = exists().where(QuarantinedInstance.sop_instance_uid == Instance.sop_instance_uid)
    found: dict[str, KeptInstance] = {}
    with db.read() as session:
        for begin in range(0, len(sop_instance_uids), 500):
            some = sop_instance_uids[begin : begin + 500]
            is_asked = Instance.sop_instance_uid.in_(some)
            rows = session.execute(select(*columns).where(is_asked, ~is_set_aside))
            found |= {uid: KeptInstance(sop, path, size) for uid, sop, path, size in rows}
    return found


def _owe(session: Session, list_id: int, incoming: IncomingList, *, is_duplicate: bool) -> None:
    values: dict[str, Any] = {
        "transaction_uid": incoming.list_uid,
        "state": ReportState.WAITING,
        "is_duplicate": is_duplicate,
        "attempts": 0,
        "requested_at": incoming.received_at,
        "due_at": incoming.received_at,
        "settled_at": None,
        "reason_text": "",
    }
    if insert_new(session, CommitmentReport, {"list_id": list_id, **values}) is None:
        again = update(CommitmentReport).where(CommitmentReport.list_id == list_id)
        session.execute(again.values(**values))


def _known_list(session: Session, incoming: IncomingList) -> int:
    statement = select(InstanceList.id).where(
        InstanceList.source == incoming.source,
        InstanceList.calling_ae_title == incoming.calling_ae_title,
        InstanceList.list_uid == incoming.list_uid,
    )
    return session.scalars(statement).one()


def _instances(session: Session, list_id: int) -> tuple[ListedSop, ...]:
    rows = session.scalars(
        select(ListedInstance)
        .where(ListedInstance.list_id == list_id)
        .order_by(ListedInstance.sop_instance_uid)
    )
    return tuple(
        ListedSop(
            row.sop_class_uid,
            row.sop_instance_uid,
            row.series_instance_uid,
            row.study_instance_uid,
            row.is_required,
        )
        for row in rows
    )


def _change(db: Database, due: CommitmentDue, columns: Mapping[str, Any]) -> None:
    # A request that was repeated meanwhile is a new one, and is reported for itself.
    statement = update(CommitmentReport).where(
        CommitmentReport.list_id == due.list_id,
        CommitmentReport.requested_at == due.requested_at,
        CommitmentReport.state == ReportState.WAITING,
    )
    with db.begin() as session:
        session.execute(statement.values(**columns))
