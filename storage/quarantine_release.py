"""A person accepts an instance in quarantine as the truth: what contradicts it gives way.

The study takes the instance's patient; a series known in another study moves to the instance's
study with all that it holds; an instance known in another study is taken out of it, its file kept
as a replaced one. Studies that lose something are looked at again, in a new generation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import (
    IncomingInstance,
    PatientIdentity,
    SeriesHeader,
    StoreOutcome,
    StudyHeader,
    StudyState,
)
from storage.dicom_tables import Instance, QuarantinedInstance, ReplacedInstance, Series, Study
from storage.errors import NotFound
from storage.identity import keep_told_identity
from storage.instance_files import InstanceFiles
from storage.instance_rows import record_in, replaced_versions, study_row
from storage.quarantine import COPIED, audit_line
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.same_content import SameContent
from storage.study_rows import PATIENT, concept, is_same_patient

_TOLD: Final = {
    "PatientID": "patient_id",
    "IssuerOfPatientID": "issuer_of_patient_id",
    "PatientName": "patient_name",
    "PatientBirthDate": "birth_date",
}
"""Columns of a study by the keywords under which a report was told."""


def release(db: Database, files: InstanceFiles, quarantine_id: int, *, actor: str) -> StoreOutcome:
    """Accept one instance: it is recorded, and what is known is corrected to agree with it.

    Raises:
        NotFound: it is not, or no longer, in quarantine. StorageError: nothing was changed.
    """
    places: list[str] = []
    try:
        with db.begin() as session:
            row = session.get(QuarantinedInstance, quarantine_id, with_for_update=True)
            if row is None:
                raise NotFound(f"there is no quarantine {quarantine_id}")
            aside = row.path
            incoming = _incoming(row, files, places)
            _make_way(session, files, incoming, places)
            same = SameContent(files)
            incoming = same.apart(incoming, replaced_versions(session, incoming))
            outcome = record_in(session, incoming, same).outcome
            session.add(audit_line(row, "quarantine_released", actor))
            session.delete(row)
            files.sync_folders(places)
    except BaseException:
        # The files at their old places are what the rows still name.
        for place in places:
            files.discard(place)
        raise
    files.discard(aside)
    return outcome


def _incoming(
    row: QuarantinedInstance, files: InstanceFiles, places: list[str]
) -> IncomingInstance:
    uids = (row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid)
    places.append(files.link(row.path, *uids))
    return IncomingInstance(
        study=_study_header(row),
        series=SeriesHeader(**row.series_header),
        path=places[-1],
        association_id=None,
        **{name: getattr(row, name) for name in COPIED},
    )


def _study_header(row: QuarantinedInstance) -> StudyHeader:
    columns = dict(row.study_header)
    columns["patient"] = PatientIdentity(**columns["patient"])
    columns["procedure_code"] = concept(columns["procedure_code"])
    return StudyHeader(**columns)


def _make_way(
    session: Session, files: InstanceFiles, incoming: IncomingInstance, places: list[str]
) -> None:
    study = session.get(Study, incoming.study.study_instance_uid, with_for_update=True)
    if study is not None and not is_same_patient(study, incoming.study.patient):
        former = _former(study, incoming.study.patient)
        keep_told_identity(session, study.study_instance_uid, former)
        for name in PATIENT:
            setattr(study, name, getattr(incoming.study.patient, name))
    _take_instance(session, incoming)
    _take_series(session, files, incoming, places)
    session.flush()


def _former(study: Study, patient: PatientIdentity) -> dict[str, str]:
    """What becomes otherwise, as it was, by keyword."""
    known = {keyword: (getattr(study, name), name) for keyword, name in _TOLD.items()}
    return {key: was for key, (was, name) in known.items() if was != getattr(patient, name)}


def _take_instance(session: Session, incoming: IncomingInstance) -> None:
    known = session.get(Instance, incoming.sop_instance_uid, with_for_update=True)
    if known is None:
        return
    series = session.get_one(Series, known.series_instance_uid)
    same_series = series.series_instance_uid == incoming.series.series_instance_uid
    if same_series or series.study_instance_uid == incoming.study.study_instance_uid:
        return
    loser = _opened_again(session, series.study_instance_uid)
    session.add(
        ReplacedInstance(
            study_instance_uid=loser.study_instance_uid,
            sop_instance_uid=known.sop_instance_uid,
            path=known.path,
            dataset_digest=known.dataset_digest,
            generation=loser.generation,
            replaced_at=datetime.now(UTC),
        )
    )
    session.delete(known)


def _take_series(
    session: Session, files: InstanceFiles, incoming: IncomingInstance, places: list[str]
) -> None:
    series = session.get(Series, incoming.series.series_instance_uid, with_for_update=True)
    study_uid = incoming.study.study_instance_uid
    if series is None or series.study_instance_uid == study_uid:
        return
    _opened_again(session, series.study_instance_uid)
    is_note = incoming.sop_class_uid == KEY_OBJECT_SELECTION
    study_row(session, incoming, incoming.is_own_result or is_note)
    series.study_instance_uid = study_uid
    instances = select(Instance).where(Instance.series_instance_uid == series.series_instance_uid)
    for one in session.scalars(instances):
        # A study's folder goes with the study, so the files move along.
        uids = (study_uid, one.series_instance_uid, one.sop_instance_uid)
        places.append(files.link(one.path, *uids))
        one.path = places[-1]


def _opened_again(session: Session, study_uid: str) -> Study:
    """The study that loses something: complete or not, it has to be looked at again."""
    study = session.get_one(Study, study_uid, with_for_update=True)
    if study.state in (StudyState.READY, StudyState.ROUTED):
        study.generation += 1
        study.complete_evidence, study.complete_at = "", None
        study.state = StudyState.RECEIVING
    now = datetime.now(UTC)
    study.last_received_at = max(now, study.last_received_at + timedelta(microseconds=1))
    return study
