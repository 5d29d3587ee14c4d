"""Lists of a study's instances, kept whether or not the study is here, and what they prove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_tables import Instance, QuarantinedInstance, Series, Study
from storage.evidence_records import NO_LISTS, IncomingList, ListedSop, ListEvidence, ListSource
from storage.evidence_tables import InstanceList, ListedInstance
from storage.job_tables import ResultObjectRow
from storage.upsert import insert_new


def record_list(db: Database, incoming: IncomingList) -> bool:
    """Keep a list; False, and nothing changes, where this very list is known already."""
    with db.begin() as session:
        return add_list(session, incoming) is not None


def add_list(session: Session, incoming: IncomingList) -> int | None:
    """`record_list` inside a transaction; the number of the new list."""
    row = insert_new(session, InstanceList, _columns(incoming))
    if row is None:
        return None
    _add_instances(session, row.id, incoming.instances)
    _forget_unavailable(session, row)
    return row.id


def change_step(db: Database, incoming: IncomingList, *, replaces_instances: bool) -> bool:
    """Take what a performed procedure step says anew; False where it was closed already.

    A step that was never announced is kept as if it had been: its images count all the same.
    """
    with db.begin() as session:
        row = _locked(session, incoming)
        if row is None:
            return add_list(session, incoming) is not None
        if not row.is_open:
            return False
        row.is_open = incoming.is_open
        if replaces_instances:
            session.execute(delete(ListedInstance).where(ListedInstance.list_id == row.id))
            known = incoming.study_instance_uid or row.study_instance_uid
            _add_instances(session, row.id, incoming.instances, known)
        return True


def has_lists(session: Session) -> bool:
    """Whether there is any list at all: at most sites nobody sends one."""
    return bool(session.scalar(select(exists().select_from(InstanceList))))


def list_evidence(session: Session, study_instance_uid: str) -> ListEvidence:
    """What the lists say about one study; without any list, `NO_LISTS`."""
    lists = session.execute(
        select(InstanceList.id, InstanceList.source, InstanceList.is_open)
        .where(InstanceList.id.in_(_touching(study_instance_uid)))
        .order_by(InstanceList.id)
    ).all()
    if not lists:
        return NO_LISTS
    ids = [number for number, _, _ in lists]
    return ListEvidence(
        sources=tuple(sorted({ListSource(source) for _, source, _ in lists})),
        missing=session.scalar(_not_here(study_instance_uid, ids, ~_IS_SET_ASIDE)) or 0,
        quarantined=session.scalar(_not_here(study_instance_uid, ids, _IS_SET_ASIDE)) or 0,
        unlisted=dict(session.execute(_unlisted(study_instance_uid, ids)).all()),
        open_steps=sum(is_open for _, _, is_open in lists),
    )


def forget_lists(session: Session, older_than: datetime) -> None:
    """Delete old lists of studies that are not here (any more)."""
    is_here = or_(
        exists().where(Study.study_instance_uid == InstanceList.study_instance_uid),
        exists().where(
            ListedInstance.list_id == InstanceList.id,
            ListedInstance.sop_instance_uid == Instance.sop_instance_uid,
        ),
    )
    statement = delete(InstanceList).where(InstanceList.received_at < older_than, ~is_here)
    session.execute(statement, execution_options={"synchronize_session": False})


def _columns(incoming: IncomingList) -> dict[str, object]:
    names = ("source", "calling_ae_title", "list_uid", "study_instance_uid", "is_open")
    return {name: getattr(incoming, name) for name in (*names, "received_at")}


def _add_instances(
    session: Session, list_id: int, instances: Sequence[ListedSop], study_uid: str = ""
) -> None:
    rows = {
        each.sop_instance_uid: {
            "list_id": list_id,
            "sop_instance_uid": each.sop_instance_uid,
            "sop_class_uid": each.sop_class_uid,
            "series_instance_uid": each.series_instance_uid,
            "study_instance_uid": each.study_instance_uid or study_uid,
            "is_required": each.is_required,
        }
        for each in instances
    }
    if rows:
        session.execute(insert(ListedInstance), list(rows.values()))


def _forget_unavailable(session: Session, row: InstanceList) -> None:
    """What a sender calls unavailable now is not waited for, whatever it said before.

    What another one has announced is: where one PACS has it no more, a modality may still send it.
    """
    newly = select(ListedInstance.sop_instance_uid).where(
        ListedInstance.list_id == row.id, ListedInstance.is_required.is_(False)
    )
    of_sender = select(InstanceList.id).where(InstanceList.calling_ae_title == row.calling_ae_title)
    statement = update(ListedInstance).where(
        ListedInstance.sop_instance_uid.in_(newly),
        ListedInstance.list_id.in_(of_sender),
        ListedInstance.is_required.is_(True),
    )
    session.execute(
        statement.values(is_required=False), execution_options={"synchronize_session": False}
    )


def _locked(session: Session, incoming: IncomingList) -> InstanceList | None:
    statement = select(InstanceList).where(
        InstanceList.source == incoming.source,
        InstanceList.calling_ae_title == incoming.calling_ae_title,
        InstanceList.list_uid == incoming.list_uid,
    )
    return session.scalars(statement.with_for_update()).one_or_none()


def _touching(study_uid: str) -> Select[int]:
    """The numbers of the lists that name the study, or an instance of it."""
    here = (
        select(ListedInstance.list_id)
        .join(Instance, Instance.sop_instance_uid == ListedInstance.sop_instance_uid)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study_uid, Instance.is_own_result.is_(False))
    )
    named = select(ListedInstance.list_id).where(ListedInstance.study_instance_uid == study_uid)
    whole = select(InstanceList.id).where(InstanceList.study_instance_uid == study_uid)
    found = union(here, named, whole).subquery()
    return select(found.c.list_id)


_IS_SET_ASIDE = exists().where(
    QuarantinedInstance.sop_instance_uid == ListedInstance.sop_instance_uid
)


def _not_here(study_uid: str, list_ids: list[int], condition: ColumnElement[bool]) -> Select[int]:
    sop = ListedInstance.sop_instance_uid
    is_here = or_(
        exists().where(Instance.sop_instance_uid == sop),
        exists().where(ResultObjectRow.sop_instance_uid == sop),
    )
    return select(func.count(sop.distinct())).where(
        ListedInstance.list_id.in_(list_ids),
        ListedInstance.is_required.is_(True),
        ListedInstance.study_instance_uid.in_(("", study_uid)),
        ~is_here,
        condition,
    )


def _unlisted(study_uid: str, list_ids: list[int]) -> Select[str, int]:
    is_listed = exists().where(
        and_(
            ListedInstance.sop_instance_uid == Instance.sop_instance_uid,
            ListedInstance.list_id.in_(list_ids),
        )
    )
    return (
        select(Instance.series_instance_uid, func.count())
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study_uid, Instance.is_own_result.is_(False))
        .where(~is_listed)
        .group_by(Instance.series_instance_uid)
    )
