"""One received instance becomes rows: the only way into study, series and instance."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import IncomingInstance, InstanceRecord, StoreOutcome, StudyState
from storage.dicom_tables import AssociationStudy, Instance, Series, Study
from storage.errors import IdentityConflict
from storage.instance_files import uid_tag
from storage.job_tables import ResultObjectRow
from storage.study_rows import instance_columns, instance_record, series_columns, study_columns
from storage.table_types import storable
from storage.upsert import insert_new, insert_or_lock

# Generation 0 exists only inside the transaction that creates a study.
JUST_CREATED = 0


def record_instance(db: Database, incoming: IncomingInstance) -> StoreOutcome:
    """Record one instance whose file is durable; one transaction, in effect all or nothing.

    - DUPLICATE: the same dataset is here already; nothing of study, series and instance changes,
      and the caller discards its file.
    - REPLACED: another dataset under a known SOP Instance UID; the newest is the row, the old
      file stays on disk.
    - OWN_RESULT: one of our results came back; it never opens or re-opens a study.
    - STORED: new. STORED and REPLACED (re-)open the study; a new generation begins if the study
      had been complete.

    Raises:
        IdentityConflict: the study is known with another patient, or the series or instance
            under another study; nothing was recorded.
        DatabaseUnavailable: try again later. OutOfSpace: the database's disk is full.
    """
    with db.begin() as session:
        is_own = incoming.is_own_result or _is_own(session, incoming.sop_instance_uid)
        study = _study(session, incoming, is_own)
        series = _series(session, incoming)
        outcome = _record(session, incoming, is_own)
        if outcome in (StoreOutcome.STORED, StoreOutcome.REPLACED):
            is_newer = outcome is StoreOutcome.REPLACED or study.state is StudyState.RESULTS_ONLY
            _update(study, study_columns(incoming.study), is_newer)
            _update(series, series_columns(incoming.series), is_newer)
            _reopen(study, incoming)
        if outcome is StoreOutcome.REPLACED:
            study.replaced_at = incoming.received_at
        study.generation = study.generation or 1
        if not is_own:
            _link(session, incoming)
        return outcome


def instances_of_series(db: Database, series_instance_uid: str) -> tuple[InstanceRecord, ...]:
    """The instances of one series, without our own results, by Instance Number, then UID."""
    statement = (
        select(Instance, Series.study_instance_uid)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Instance.series_instance_uid == series_instance_uid)
        .where(Instance.is_own_result.is_(False))
    )
    with db.read() as session:
        records = [instance_record(row, study) for row, study in session.execute(statement)]
    return tuple(sorted(records, key=_order))


def is_kept(db: Database, path: PurePosixPath) -> bool:
    """Whether an instance, received or our own result, has its dataset in this very file."""
    with db.read() as session:
        return bool(session.scalar(select(exists().where(Instance.path == str(path)))))


def is_own_sop_instance(db: Database, sop_instance_uid: str) -> bool:
    """Whether this node made the instance, as far as storage remembers."""
    with db.read() as session:
        return _is_own(session, sop_instance_uid)


def _order(record: InstanceRecord) -> tuple[bool, int, str]:
    number = record.instance_number
    return number is None, number or 0, record.sop_instance_uid


def _is_own(session: Session, sop_instance_uid: str) -> bool:
    made = exists().where(ResultObjectRow.sop_instance_uid == sop_instance_uid)
    marked = exists().where(
        Instance.sop_instance_uid == sop_instance_uid, Instance.is_own_result.is_(True)
    )
    return bool(session.scalar(select(made | marked)))


def _study(session: Session, incoming: IncomingInstance, is_own: bool) -> Study:
    """The study's row, locked: instances of one study are recorded one after another."""
    values = study_columns(incoming.study) | {
        "state": StudyState.RESULTS_ONLY if is_own else StudyState.RECEIVING,
        "generation": JUST_CREATED,
        "calling_ae_title": incoming.calling_ae_title,
        "first_received_at": incoming.received_at,
        "last_received_at": incoming.received_at,
        "complete_evidence": "",
    }
    study = insert_or_lock(session, Study, values)
    if not _is_same_patient(study, values):
        raise IdentityConflict(
            f"study {uid_tag(study.study_instance_uid)} is known with another patient"
        )
    return study


def _is_same_patient(study: Study, values: dict[str, Any]) -> bool:
    """Same Patient ID; an issuer is compared only where both sides name one."""
    patient_id, issuer = (
        storable(values[name]).strip() for name in ("patient_id", "issuer_of_patient_id")
    )
    known_issuer = study.issuer_of_patient_id.strip()
    same_issuer = not issuer or not known_issuer or issuer == known_issuer
    return patient_id == study.patient_id.strip() and same_issuer


def _series(session: Session, incoming: IncomingInstance) -> Series:
    study_uid = incoming.study.study_instance_uid
    values = series_columns(incoming.series) | {"study_instance_uid": study_uid}
    series = insert_or_lock(session, Series, values)
    if series.study_instance_uid != study_uid:
        raise IdentityConflict(
            f"series {uid_tag(series.series_instance_uid)} is known in another study"
        )
    return series


def _record(session: Session, incoming: IncomingInstance, is_own: bool) -> StoreOutcome:
    columns = instance_columns(incoming) | {"is_own_result": is_own}
    values = columns | {"sop_instance_uid": incoming.sop_instance_uid}
    if insert_new(session, Instance, values) is not None:
        return StoreOutcome.OWN_RESULT if is_own else StoreOutcome.STORED
    known = session.get_one(Instance, incoming.sop_instance_uid, with_for_update=True)
    _check_study(session, known, incoming)
    if known.dataset_sha256 == incoming.dataset_sha256:
        return StoreOutcome.DUPLICATE
    for name, value in columns.items():
        setattr(known, name, value)
    return StoreOutcome.OWN_RESULT if is_own else StoreOutcome.REPLACED


def _check_study(session: Session, known: Instance, incoming: IncomingInstance) -> None:
    series = session.get_one(Series, known.series_instance_uid)
    if series.study_instance_uid != incoming.study.study_instance_uid:
        raise IdentityConflict(
            f"instance {uid_tag(known.sop_instance_uid)} is known in another study"
        )


def _update(row: Study | Series, columns: dict[str, Any], is_newer: bool) -> None:
    """Fill what was empty; a newer version of known content also corrects what was not."""
    for name, value in columns.items():
        if value not in ("", None) and (is_newer or getattr(row, name) in ("", None)):
            setattr(row, name, value)


def _reopen(study: Study, incoming: IncomingInstance) -> None:
    if study.generation == JUST_CREATED:
        return
    if study.state is StudyState.RESULTS_ONLY:
        study.first_received_at = incoming.received_at
    if study.state in (StudyState.READY, StudyState.ROUTED):
        study.generation += 1
        study.complete_evidence, study.complete_at = "", None
    study.state = StudyState.RECEIVING
    study.calling_ae_title = incoming.calling_ae_title
    study.last_received_at = _other_than(study.last_received_at, incoming.received_at)


def _other_than(last: datetime, received_at: datetime) -> datetime:
    """`received_at`, a hair later if need be: `mark_ready` must see that something came."""
    return received_at + timedelta(microseconds=1) if received_at == last else received_at


def _link(session: Session, incoming: IncomingInstance) -> None:
    # Also for a duplicate: a sender that repeats a whole study is still at work on it.
    if incoming.association_id is not None:
        study_uid = incoming.study.study_instance_uid
        link = {"association_id": incoming.association_id, "study_instance_uid": study_uid}
        insert_new(session, AssociationStudy, link)
