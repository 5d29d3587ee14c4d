"""Rows of what was received, as frozen records and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any, Protocol

from storage.dicom_records import (
    CodedConcept,
    IncomingInstance,
    InstanceRecord,
    PatientIdentity,
    SeriesHeader,
    SeriesRecord,
    StudyHeader,
    StudyRecord,
    StudyState,
)
from storage.dicom_tables import Instance, Series, Study
from storage.records import AlgorithmIdentity
from storage.table_types import storable

PATIENT = tuple(field.name for field in fields(PatientIdentity))
SERIES = tuple(field.name for field in fields(SeriesHeader))
STUDY = tuple(
    field.name for field in fields(StudyHeader) if field.name not in ("patient", "procedure_code")
)
CONTENT = (
    "sop_class_uid",
    "transfer_syntax_uid",
    "instance_number",
    "size_bytes",
    "dataset_digest",
    "received_at",
)
GIVEN_AT_FIRST = (
    *PATIENT,
    *STUDY,
    "procedure_code",
    "state",
    "generation",
    "calling_ae_title",
    "first_received_at",
    "last_received_at",
    "complete_evidence",
)
"""What a study's row is made with (`first_columns`)."""
_OF_INSTANCE = (*CONTENT, "path", "series_instance_uid")
_values_of_instance = attrgetter(*CONTENT, "path", "series.series_instance_uid")


class PatientKey(Protocol):
    """What tells one patient from another."""

    @property
    def patient_id(self) -> str: ...  # noqa: D102

    @property
    def issuer_of_patient_id(self) -> str: ...  # noqa: D102


def is_same_patient(known: PatientKey, patient: PatientIdentity) -> bool:
    """Same Patient ID; an issuer is compared only where both sides name one."""
    patient_id, issuer = (
        storable(text).strip() for text in (patient.patient_id, patient.issuer_of_patient_id)
    )
    known_issuer = known.issuer_of_patient_id.strip()
    same_issuer = not issuer or not known_issuer or issuer == known_issuer
    return patient_id == known.patient_id.strip() and same_issuer


def concept(value: Mapping[str, str] | None) -> CodedConcept | None:
    """A code as it lies in a JSON column."""
    return None if value is None else CodedConcept(**value)


def asdict_or_none(value: CodedConcept | AlgorithmIdentity | None) -> dict[str, Any] | None:
    """A small record for a JSON column."""
    return None if value is None else asdict(value)


def study_columns(header: StudyHeader) -> dict[str, Any]:
    """Columns of `study` that come from the instances."""
    columns = {name: getattr(header, name) for name in STUDY}
    columns |= {name: getattr(header.patient, name) for name in PATIENT}
    return columns | {"procedure_code": asdict_or_none(header.procedure_code)}


def first_columns(incoming: IncomingInstance, state: StudyState, generation: int) -> dict[str, Any]:
    """Columns of `study` when its first instance comes."""
    return study_columns(incoming.study) | {
        "state": state,
        "generation": generation,
        "calling_ae_title": incoming.calling_ae_title,
        "first_received_at": incoming.received_at,
        "last_received_at": incoming.received_at,
        "complete_evidence": "",
    }


def series_columns(header: SeriesHeader) -> dict[str, Any]:
    """Columns of `series` that come from the instances."""
    return {name: getattr(header, name) for name in SERIES}


def instance_columns(incoming: IncomingInstance) -> dict[str, Any]:
    """Columns of `instance` that change when another dataset replaces it."""
    return dict(zip(_OF_INSTANCE, _values_of_instance(incoming), strict=True))


def study_record(row: Study) -> StudyRecord:
    """A study as a frozen record."""
    return StudyRecord(
        header=_study_header(row),
        state=row.state,
        generation=row.generation,
        calling_ae_title=row.calling_ae_title,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        complete_evidence=row.complete_evidence,
        complete_at=row.complete_at,
    )


def series_record(row: Series, instance_count: int) -> SeriesRecord:
    """A series as a frozen record."""
    header = SeriesHeader(**{name: getattr(row, name) for name in SERIES})
    return SeriesRecord(header, row.study_instance_uid, instance_count)


def instance_record(row: Instance, study_instance_uid: str) -> InstanceRecord:
    """An instance as a frozen record."""
    return InstanceRecord(
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        study_instance_uid=study_instance_uid,
        path=PurePosixPath(row.path),
        is_own_result=row.is_own_result,
        **{name: getattr(row, name) for name in CONTENT},
    )


def _study_header(row: Study) -> StudyHeader:
    return StudyHeader(
        patient=PatientIdentity(**{name: getattr(row, name) for name in PATIENT}),
        procedure_code=concept(row.procedure_code),
        **{name: getattr(row, name) for name in STUDY},
    )
