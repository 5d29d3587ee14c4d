"""Frozen values of what was received: studies, series, instances, and the codes in them.

Attributes of patient and study are verbatim (decoded text). Times are aware UTC `datetime`s, UIDs
are strings, paths are relative to the node's data directory, so that it can be moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import NamedTuple


class StudyState(StrEnum):
    """Where a study stands; results of our own alone never open a study."""

    RECEIVING = "receiving"
    READY = "ready"
    ROUTED = "routed"
    RESULTS_ONLY = "results_only"


class StoreOutcome(StrEnum):
    """What became of one received instance."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REPLACED = "replaced"
    OWN_RESULT = "own_result"


@dataclass(frozen=True, slots=True)
class CodedConcept:
    """A code as DICOM writes it: Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """Patient attributes, verbatim (decoded text); never for logs, metrics or URLs."""

    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclass(frozen=True, slots=True)
class StudyHeader:
    """Study attributes (PS3.3 C.7.2.1), verbatim; DA and TM strings stay as they came."""

    study_instance_uid: str
    patient: PatientIdentity = PatientIdentity()
    study_date: str = ""
    study_time: str = ""
    timezone_offset: str = ""
    study_id: str = ""
    accession_number: str = ""
    issuer_of_accession_number: str = ""
    study_description: str = ""
    procedure_code: CodedConcept | None = None


@dataclass(frozen=True, slots=True)
class SeriesHeader:
    """Series attributes (PS3.3 C.7.3.1) that a person or a report needs."""

    series_instance_uid: str
    modality: str = ""
    series_number: int | None = None
    series_description: str = ""
    body_part_examined: str = ""


class IncomingInstance(NamedTuple):
    """One instance whose file is durable, and will be at `path`; not yet in the database.

    A tuple, and `path` plain text, because one is made for each instance. `path` is relative to the
    data directory.

    `dataset_digest` is empty where it is not needed yet. `is_late`: it was acknowledged before, so
    a newer version may have its row already.
    """

    study: StudyHeader
    series: SeriesHeader
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    path: str
    size_bytes: int
    dataset_digest: str
    calling_ae_title: str
    association_id: int | None
    is_own_result: bool
    received_at: datetime
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One kept instance."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    path: PurePosixPath
    size_bytes: int
    dataset_digest: str
    is_own_result: bool
    received_at: datetime


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """One series with the number of its instances here (own results not counted)."""

    header: SeriesHeader
    study_instance_uid: str
    instance_count: int


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study, its state, and what decided that it was complete."""

    header: StudyHeader
    state: StudyState
    generation: int
    calling_ae_title: str
    first_received_at: datetime
    last_received_at: datetime
    complete_evidence: str = ""
    complete_at: datetime | None = None
