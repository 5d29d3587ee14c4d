"""Finished jobs as storage hands them over: typical ones, and any that Hypothesis thinks of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from storage.dicom_records import (
    CodedConcept,
    PatientIdentity,
    SeriesHeader,
    SeriesRecord,
    StudyHeader,
    StudyRecord,
    StudyState,
)
from storage.records import (
    MEAN_ENTROPY,
    VOLUME_HIGHEST,
    VOLUME_LOWEST,
    AlgorithmIdentity,
    FinishedJob,
    JobRecord,
    JobState,
    MeasurementRecord,
    ObjectKind,
    Outcome,
    ResultObject,
)

FINISHED_AT = datetime(2025, 3, 4, 9, 31, 12, 345678, tzinfo=UTC)
STUDY_UID = "1.2.826.0.1.3680043.8.498.1001"

PATIENT = PatientIdentity(
    patient_id="MRN-4711",
    issuer_of_patient_id="HOSPITAL",
    patient_name="MÜLLER^ANNA MARIA=",
    birth_date="19610517",
    sex="F",
)
ALGORITHM = AlgorithmIdentity(
    name="hippocampus_mr",
    version="1.0.0",
    model_digest="9f" * 32,
    device_uid="2.25.210927371234567890123456789012345678",
)
STUDY = StudyHeader(
    study_instance_uid=STUDY_UID,
    patient=PATIENT,
    study_date="20250304",
    study_time="101530.250000",
    timezone_offset="+0100",
    study_id="77",
    accession_number="ACC-0815",
    study_description="MR head",
)


def measurement(
    structure: str = "Anterior hippocampus",
    label_value: int = 1,
    value: float = 1.5234,
    is_present: bool = True,
) -> MeasurementRecord:
    """The volume of one structure."""
    return MeasurementRecord(
        structure=structure,
        segment_number=label_value if is_present else None,
        label_value=label_value,
        tracking_identifier=structure,
        tracking_uid=f"2.25.3000000000000000000000000000000000{label_value}",
        category=CodedConcept("91723000", "SCT", "Anatomical Structure"),
        property_type=CodedConcept("5366008", "SCT", "Hippocampus"),
        type_modifier=CodedConcept("255549009", "SCT", "Anterior"),
        anatomic_region=None,
        quantity=CodedConcept("118565006", "SCT", "Volume"),
        value=value if is_present else 0.0,
        unit=CodedConcept("mL", "UCUM", "milliliter"),
        is_present=is_present,
    )


def for_review(finished: FinishedJob, why: str) -> FinishedJob:
    """The same, uncertain: entropy and volume interval of the first structure."""
    first, *others = finished.measurements
    unit = CodedConcept("1", "UCUM", "no units")
    uncertain = (
        replace(first, quantity=MEAN_ENTROPY, value=0.4, unit=unit),
        replace(first, quantity=VOLUME_LOWEST, value=1.25),
        replace(first, quantity=VOLUME_HIGHEST, value=1.75),
    )
    job = replace(finished.job, reason_code="for_review", reason_text=why)
    return replace(finished, job=job, measurements=(first, *uncertain, *others))


def result_object(kind: ObjectKind, number: int) -> ResultObject:
    """A SEG or SR made by the job."""
    classes = {
        ObjectKind.SEG: "1.2.840.10008.5.1.4.1.1.66.4",
        ObjectKind.SR: "1.2.840.10008.5.1.4.1.1.88.34",
    }
    return ResultObject(
        kind=kind,
        sop_class_uid=classes[kind],
        sop_instance_uid=f"2.25.40000000000000{number}",
        series_instance_uid=f"2.25.50000000000000{number}",
        series_number=number,
        series_description=f"AI hippocampus {kind}",
        path=PurePosixPath(f"results/1/{kind.lower()}.dcm"),
        size_bytes=1000,
        sha256="00" * 32,
    )


def job(outcome: Outcome) -> JobRecord:
    """A succeeded job."""
    return JobRecord(
        job_id=1,
        study_instance_uid=STUDY_UID,
        generation=1,
        pipeline_name="hippocampus_mr",
        pipeline_digest="ab" * 32,
        input_digest="cd" * 32,
        inputs=(),
        algorithm=ALGORITHM,
        destinations=(),
        state=JobState.SUCCEEDED,
        priority=2,
        attempts=1,
        max_attempts=3,
        due_at=FINISHED_AT,
        created_at=FINISHED_AT,
        finished_at=FINISHED_AT,
        outcome=outcome,
    )


def with_findings() -> FinishedJob:
    """Both structures found; SEG and SR made."""
    return FinishedJob(
        job=job(Outcome.FINDINGS),
        study=StudyRecord(
            header=STUDY,
            state=StudyState.ROUTED,
            generation=1,
            calling_ae_title="PACS",
            first_received_at=FINISHED_AT,
            last_received_at=FINISHED_AT,
        ),
        series=(
            SeriesRecord(
                header=SeriesHeader(
                    series_instance_uid="1.2.826.0.1.3680043.8.498.1001.1",
                    modality="MR",
                    series_number=3,
                    series_description="T1 sagittal",
                    body_part_examined="BRAIN",
                ),
                study_instance_uid=STUDY_UID,
                instance_count=36,
            ),
        ),
        measurements=(measurement(), measurement("Posterior hippocampus", 2, 1.2)),
        objects=(result_object(ObjectKind.SEG, 9001), result_object(ObjectKind.SR, 9002)),
    )


def without_findings() -> FinishedJob:
    """Nothing found: an SR alone, every structure absent."""
    return replace(
        with_findings(),
        job=job(Outcome.NO_FINDINGS),
        measurements=(
            measurement(is_present=False),
            measurement("Posterior hippocampus", 2, is_present=False),
        ),
        objects=(result_object(ObjectKind.SR, 9002),),
    )


def of_patient(patient: PatientIdentity, finished: FinishedJob | None = None) -> FinishedJob:
    """The job, of another patient."""
    return of_study(finished or with_findings(), patient=patient)


def of_study(finished: FinishedJob, **changes: object) -> FinishedJob:
    """The job, with another study header."""
    header = replace(finished.study.header, **changes)  # type: ignore[arg-type]
    return replace(finished, study=replace(finished.study, header=header))


def without_result(
    state: JobState = JobState.REFUSED,
    code: str = "spacing_irregular",
    text: str = "slices 3 and 4 are 7.5 mm apart, the others 1.0 mm",
) -> FinishedJob:
    """A job that ended without a result: not processed (`REFUSED`), or failed."""
    told = with_findings()
    ended = replace(told.job, state=state, outcome=None, reason_code=code, reason_text=text)
    return replace(told, job=ended, measurements=(), objects=())


def that_no_pipeline_took(generation: int = 1) -> FinishedJob:
    """The refusal of a study that no pipeline wants."""
    told = without_result(code="no_pipeline_matches", text="hippocampus_mr: no series fits")
    ended = replace(
        told.job,
        generation=generation,
        pipeline_name="",
        pipeline_digest="",
        input_digest="",
        algorithm=None,
    )
    return replace(told, job=ended)
