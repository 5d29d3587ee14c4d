"""Made-up values for the tests of storage: nobody's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from storage.database import Database
from storage.dataset_digest import DatasetDigest
from storage.deliveries import claim_next_delivery
from storage.dicom_records import (
    CodedConcept,
    IncomingInstance,
    PatientIdentity,
    SeriesHeader,
    StudyHeader,
)
from storage.instances import instances_of_series, record_instance
from storage.job_inputs import InputInstance, JobInput
from storage.jobs import claim_next_job, finish_job
from storage.records import (
    AlgorithmIdentity,
    DeliveryRecord,
    DestinationKind,
    JobRecord,
    JobResult,
    MeasurementRecord,
    NewDelivery,
    NewJob,
    ObjectKind,
    Outcome,
    ResultObject,
)
from storage.studies import get_study, mark_ready, route

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
STUDY = "1.2.3.1"
SERIES = "1.2.3.1.1"
PATIENT = PatientIdentity("PID-1", "SITE", "Doe^Jane", "19700101", "F")
WORKER = "radnode/100"
LEASE_S = 60.0

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
VOLUME = CodedConcept("118565006", "SCT", "Volume")
MILLILITER = CodedConcept("mL", "UCUM", "Milliliter")
ORGAN = CodedConcept("123037004", "SCT", "Anatomical Structure")
HIPPOCAMPUS = CodedConcept("5366008", "SCT", "Hippocampus")
ALGORITHM = AlgorithmIdentity("hippocampus", "1.0", "ab" * 32, "2.25.7")


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def digest_of(data_set: bytes) -> str:
    digest = DatasetDigest()
    digest.take(data_set)
    return digest.text()


def incoming(
    number: int = 1,
    *,
    study: str = STUDY,
    series: str = SERIES,
    content: str = "",
    patient: PatientIdentity = PATIENT,
    association_id: int | None = None,
    is_own_result: bool = False,
    received_at: datetime = NOW,
) -> IncomingInstance:
    """Instance `number` of a series; another `content` makes another dataset of it."""
    uid = f"{series}.{number}"
    dataset_digest = digest_of(f"{uid} {content}".encode())
    return IncomingInstance(
        study=StudyHeader(study, patient, "20260301", "080000", accession_number="A1"),
        series=SeriesHeader(series, "MR", 3, "T1"),
        sop_instance_uid=uid,
        sop_class_uid=MR_IMAGE,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        instance_number=number,
        path=f"instances/{study}/{series}/{uid}.{dataset_digest[-16:]}.dcm",
        size_bytes=1000 + number,
        dataset_digest=dataset_digest,
        calling_ae_title="PACS",
        association_id=association_id,
        is_own_result=is_own_result,
        received_at=received_at,
    )


def paths(db: Database, series: str = SERIES) -> list[str]:
    """Where the rows of a series say that its files are."""
    return [str(one.path) for one in instances_of_series(db, series)]


def new_job(
    digest: str = "in-1",
    *,
    study: str = STUDY,
    pipeline: str = "hippocampus_mr",
    generation: int = 1,
    priority: int = 20,
    max_attempts: int = 2,
) -> NewJob:
    pinned = InputInstance(f"{SERIES}.1", PurePosixPath("instances/a.dcm"), "cd" * 32)
    return NewJob(
        study_instance_uid=study,
        generation=generation,
        pipeline_name=pipeline,
        pipeline_digest="pipeline-1",
        input_digest=digest,
        inputs=(JobInput("t1", SERIES, "the only one", (pinned,)),),
        algorithm=ALGORITHM,
        priority=priority,
        max_attempts=max_attempts,
        destinations=("pacs", "ehr"),
    )


def job_result(root: str = "2.25.1") -> JobResult:
    """Results whose UIDs begin with `root`: those of different jobs must differ."""
    seg = ResultObject(
        kind=ObjectKind.SEG,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        sop_instance_uid=f"{root}.1",
        series_instance_uid=f"{root}.2",
        series_number=9001,
        series_description="AI hippocampus",
        path=PurePosixPath("results/1/seg.dcm"),
        size_bytes=3_000_000_000,
        sha256="ef" * 32,
    )
    report = replace(
        seg,
        kind=ObjectKind.SR,
        sop_instance_uid=f"{root}.3",
        series_instance_uid=f"{root}.4",
        path=PurePosixPath("results/1/sr.dcm"),
    )
    return JobResult(
        outcome=Outcome.FINDINGS,
        objects=(seg, report),
        measurements=(volume("anterior", 1, 1.2345678901234567), volume("posterior", None, 0.0)),
        device="cpu",
        peak_memory_mib=812.5,
        stage_times_s={"read": 0.5, "preprocess": 0.25, "inference": 3.125},
    )


def volume(structure: str, segment_number: int | None, value: float) -> MeasurementRecord:
    return MeasurementRecord(
        structure=structure,
        segment_number=segment_number,
        label_value=1 if structure == "anterior" else 2,
        tracking_identifier=structure,
        tracking_uid=f"2.25.99{len(structure)}",
        category=ORGAN,
        property_type=HIPPOCAMPUS,
        type_modifier=None,
        anatomic_region=HIPPOCAMPUS,
        quantity=VOLUME,
        value=value,
        unit=MILLILITER,
        is_present=segment_number is not None,
    )


def receive(db: Database, *instances: IncomingInstance) -> None:
    for instance in instances or (incoming(),):
        record_instance(db, instance)


def make_ready(db: Database, study: str = STUDY, *, now: datetime = NOW) -> int:
    """Declare a study complete; its generation."""
    record = get_study(db, study)
    is_ready = mark_ready(
        db,
        study,
        generation=record.generation,
        last_received_at=record.last_received_at,
        evidence="quiet time",
        now=now,
    )
    assert is_ready
    return record.generation


def make_job(db: Database, job: NewJob | None = None, *, now: datetime = NOW) -> int:
    """Receive a study, or something new for it, complete it and route it to one job."""
    job = job or new_job()
    content = f"{job.generation} {job.input_digest}"
    series = f"{job.study_instance_uid}.1"
    receive(db, incoming(study=job.study_instance_uid, series=series, content=content))
    generation = make_ready(db, job.study_instance_uid, now=now)
    (job_id,) = route(
        db,
        job.study_instance_uid,
        generation=generation,
        jobs=(replace(job, generation=generation),),
        refusal=None,
        now=now,
    )
    return job_id


def claim(db: Database, *, worker_id: str = WORKER, now: datetime = NOW) -> JobRecord:
    job = claim_next_job(db, worker_id=worker_id, lease_s=LEASE_S, now=now)
    assert job is not None
    return job


def to_destinations(*names: str, now: datetime = NOW, wait_s: float = 300) -> list[NewDelivery]:
    """Deliveries as a worker makes them: what is not DICOM waits for what is."""
    kinds = {"pacs": DestinationKind.DICOM, "pacs2": DestinationKind.DICOM}
    found = [(name, kinds.get(name, DestinationKind.FHIR)) for name in names]
    has_dicom = any(kind is DestinationKind.DICOM for _, kind in found)
    later = now + timedelta(seconds=wait_s if has_dicom else 0)
    return [
        NewDelivery(name, kind, now if kind is DestinationKind.DICOM else later)
        for name, kind in found
    ]


def finish(
    db: Database,
    job_id: int,
    *,
    worker_id: str = WORKER,
    deliveries: Sequence[NewDelivery] = (),
    now: datetime = NOW,
) -> None:
    finish_job(
        db,
        job_id,
        worker_id=worker_id,
        result=job_result(f"2.25.{job_id}"),
        deliveries=tuple(deliveries),
        now=now,
    )


def make_deliveries(db: Database, *names: str, study: str = STUDY, now: datetime = NOW) -> int:
    """A finished job with deliveries to these destinations; the job's number."""
    job_id = make_job(db, new_job(study=study), now=now)
    claim(db, now=now)
    finish(db, job_id, deliveries=to_destinations(*names, now=now), now=now)
    return job_id


def claim_delivery(
    db: Database, destination: str = "pacs", *, worker_id: str = WORKER, now: datetime = NOW
) -> DeliveryRecord:
    delivery = claim_next_delivery(
        db, destination=destination, worker_id=worker_id, lease_s=LEASE_S, now=now
    )
    assert delivery is not None
    return delivery
