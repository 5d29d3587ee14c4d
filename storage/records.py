"""Frozen values that cross package borders; rows and sessions stay inside `storage`.

Times are aware UTC `datetime`s. UIDs are DICOM UIDs as strings. Paths are relative to the
node's data directory, so that the directory can be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath

from storage.dicom_records import CodedConcept, SeriesRecord, StudyRecord
from storage.job_inputs import JobInput
from storage.prior_records import PriorResult
from storage.quantities import OF_CLASSES, QUALIFYING

ARTIFICIAL_INTELLIGENCE = CodedConcept("123110", "DCM", "Artificial Intelligence")
"""Algorithm Family (CID 7162) of every model."""


FOR_REVIEW = "for_review"
"""Reason code of a succeeded job that somebody should look at; its text says why."""


class JobState(StrEnum):
    """Where a job stands; `storage.job_state` holds the allowed changes."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class DeliveryState(StrEnum):
    """Where a delivery stands; `storage.delivery_state` holds the allowed changes."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    CONFIRMED = "confirmed"
    DEAD = "dead"


class Purpose(StrEnum):
    """What a delivery is for: to tell a result, or to withdraw what it told."""

    TELL = "tell"
    WITHDRAW = "withdraw"


class Outcome(StrEnum):
    """What a succeeded job found."""

    FINDINGS = "findings"
    NO_FINDINGS = "no_findings"


class ObjectKind(StrEnum):
    """Result objects: most by their Modality. KO is a rejection note, KOS selects key images."""

    SEG = "SEG"
    SR = "SR"
    PDF = "DOC"
    SC = "OT"
    KO = "KO"
    HEAT = "HEAT"
    KOS = "KOS"
    PR = "PR"
    PM = "PM"

    @property
    def modality(self) -> str:
        """Modality (0008,0060) under which a PACS files it."""
        return {"HEAT": "OT", "KOS": "KO", "PM": "OT"}.get(self.value, self.value)


class DestinationKind(StrEnum):
    """How a destination is reached."""

    DICOM = "dicom"
    FHIR = "fhir"
    FOLDER = "folder"
    HL7 = "hl7"


@dataclass(frozen=True, slots=True)
class AlgorithmIdentity:
    """The model that ran; one device UID per digest of its files."""

    name: str
    version: str
    model_digest: str
    device_uid: str
    manufacturer: str = "radnode"
    family: CodedConcept = ARTIFICIAL_INTELLIGENCE


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as routing asks for it; unique on (study, pipeline digest, input digest)."""

    study_instance_uid: str
    generation: int
    pipeline_name: str
    pipeline_digest: str
    input_digest: str
    inputs: tuple[JobInput, ...]
    algorithm: AlgorithmIdentity
    priority: int
    max_attempts: int
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no pipeline took a study: a code of ours and a sentence without patient data."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job as it stands; `priority` 0 is the most urgent."""

    job_id: int
    study_instance_uid: str
    generation: int
    pipeline_name: str
    pipeline_digest: str
    input_digest: str
    inputs: tuple[JobInput, ...]
    algorithm: AlgorithmIdentity | None
    destinations: tuple[str, ...]
    state: JobState
    priority: int
    attempts: int
    max_attempts: int
    due_at: datetime
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker_id: str | None = None
    lease_expires_at: datetime | None = None
    outcome: Outcome | None = None
    reason_code: str = ""
    reason_text: str = ""
    device: str = ""
    peak_memory_mib: float | None = None
    stage_times_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasurementRecord:
    """One quantity of one structure; an absent structure has value 0 and no segment number.

    A class of the whole image has no segment number either, and a value in any case; it is present
    from its operating point on. `label_value` is then the index of the model's output.
    `tracking_uid` is the Tracking UID of the segment in SEG, SR and FHIR alike.
    """

    structure: str
    segment_number: int | None
    label_value: int
    tracking_identifier: str
    tracking_uid: str
    category: CodedConcept
    property_type: CodedConcept
    type_modifier: CodedConcept | None
    anatomic_region: CodedConcept | None
    quantity: CodedConcept
    value: float
    unit: CodedConcept
    is_present: bool

    @property
    def is_qualifying(self) -> bool:
        """Whether it only says how sure another measurement of the structure is."""
        return self.quantity in QUALIFYING

    @property
    def is_of_class(self) -> bool:
        """Whether it belongs to a class of the whole image, and to no segment."""
        return self.quantity in OF_CLASSES

    @property
    def has_value(self) -> bool:
        """Whether the value is to be told; that of an absent structure is not."""
        return self.is_present or self.is_of_class


@dataclass(frozen=True, slots=True)
class ResultObject:
    """One DICOM object made by a job, durable at `path`."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    series_description: str
    path: PurePosixPath
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """All that a finished job hands over, registered in one transaction.

    `review` says why somebody should look at the result; empty where nothing calls for it.
    """

    outcome: Outcome
    objects: tuple[ResultObject, ...]
    measurements: tuple[MeasurementRecord, ...]
    device: str
    peak_memory_mib: float
    stage_times_s: Mapping[str, float]
    review: str = ""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One destination that a finished job's results go to."""

    destination: str
    kind: DestinationKind
    due_at: datetime
    is_rejectable: bool = False
    """Whether a PACS is sent a rejection note once newer work has replaced the results."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One row of the outbox."""

    delivery_id: int
    job_id: int
    destination: str
    kind: DestinationKind
    state: DeliveryState
    attempts: int
    due_at: datetime
    created_at: datetime
    settled_at: datetime | None = None
    lease_expires_at: datetime | None = None
    worker_id: str | None = None
    reason_code: str = ""
    reason_text: str = ""
    receipt: Mapping[str, str] = field(default_factory=dict)
    purpose: Purpose = Purpose.TELL


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A job at its end with everything a report needs; rebuilt from storage at any time.

    `priors`, oldest first, are those that the job saw. `report_pdf` is the PDF that it made, where
    whoever sends the report has read it from its file. `withdrawn_at` is when newer work replaced
    it, in what withdraws the report. `missing_at_pacs` are the kinds of objects that no PACS got.
    `attributes` (keyword, value) are those of patient and study that were changed since the objects
    were made. `known_uids` are the SOP Instance UIDs under which this node or any PACS has, or had,
    the objects; other ones than in `objects` may have been told before.
    """

    job: JobRecord
    study: StudyRecord
    series: tuple[SeriesRecord, ...]
    measurements: tuple[MeasurementRecord, ...]
    objects: tuple[ResultObject, ...]
    priors: tuple[PriorResult, ...] = ()
    report_pdf: bytes | None = None
    withdrawn_at: datetime | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    missing_at_pacs: frozenset[ObjectKind] = frozenset()
    known_uids: frozenset[str] = frozenset()

    @property
    def review(self) -> str:
        """Why somebody should look at the result; empty where nothing calls for it."""
        return self.job.reason_text if self.job.reason_code == FOR_REVIEW else ""

    @property
    def algorithm(self) -> AlgorithmIdentity:
        """The model that ran; a succeeded job always has one."""
        if self.job.algorithm is None:
            raise ValueError(f"job {self.job.job_id} ran no algorithm")
        return self.job.algorithm
