"""Frozen values of a status table: studies, jobs, deliveries; no patient data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.dicom_records import StudyState
from storage.records import DeliveryState, DestinationKind, JobState, Outcome, Purpose
from storage.rejection_records import NoteRow
from storage.sent_objects import SentObject


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery of a job.

    `unconfirmed` is why the receiver of a sent delivery has not confirmed it, where it is asked:
    `asking`, `awaited` (its report), or the reason of the last try. `sent` is what a PACS got,
    `fallback` why it got that in place of segmentations, `left_out` what it did not take and why.
    `outdated`: a report that was told under another patient or order than the PACS lists the study
    under by now, by keyword.
    """

    delivery_id: int
    destination: str
    kind: DestinationKind
    state: DeliveryState
    attempts: int
    due_at: datetime
    reason_code: str
    reason_text: str
    unconfirmed: str = ""
    sent: tuple[SentObject, ...] = ()
    fallback: str = ""
    left_out: str = ""
    purpose: Purpose = Purpose.TELL
    outdated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job of a study; no `pipeline_name` where no pipeline took the study."""

    job_id: int
    pipeline_name: str
    generation: int
    state: JobState
    attempts: int
    outcome: Outcome | None
    reason_code: str
    reason_text: str
    started_at: datetime | None
    finished_at: datetime | None
    deliveries: tuple[DeliveryRow, ...]


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study; `instance_count` is without our own results.

    `complete_waited_s` is how long after its last instance it was found complete.
    `replaced_count` is how often an instance came again with other content, `rejected_count` how
    many instances that are here were taken back by rejection notes.
    """

    study_instance_uid: str
    state: StudyState
    generation: int
    calling_ae_title: str
    instance_count: int
    replaced_count: int
    last_received_at: datetime
    complete_evidence: str
    complete_at: datetime | None
    complete_waited_s: float | None
    jobs: tuple[JobRow, ...]
    rejected_count: int = 0
    rejection_notes: tuple[NoteRow, ...] = ()
