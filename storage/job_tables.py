"""Tables of what is done: jobs, their results, the outbox, and the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.dicom_tables import Study
from storage.records import DeliveryState, DestinationKind, JobState, ObjectKind, Outcome, Purpose
from storage.table_types import EnumText, JsonMap, PlainText, Table, UtcDateTime

HAS_PIPELINE = text("pipeline_name <> ''")
HAS_NO_PIPELINE = text("pipeline_name = ''")


class Job(Table):
    """One run of one pipeline on one study, or, without a pipeline, why there was none."""

    __tablename__ = "job"
    __table_args__ = (
        Index(
            "uq_job_input",
            "study_instance_uid",
            "pipeline_digest",
            "input_digest",
            unique=True,
            sqlite_where=HAS_PIPELINE,
            postgresql_where=HAS_PIPELINE,
        ),
        Index(
            "uq_job_refusal",
            "study_instance_uid",
            "generation",
            unique=True,
            sqlite_where=HAS_NO_PIPELINE,
            postgresql_where=HAS_NO_PIPELINE,
        ),
        Index("ix_job_claim", "state", "priority", "due_at", "id"),
        # No query on a study alone, nor its deletion, can use the two that leave jobs out.
        Index(None, "study_instance_uid"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Study.study_instance_uid, ondelete="CASCADE")
    )
    generation: Mapped[int]
    pipeline_name: Mapped[str] = mapped_column(PlainText)
    pipeline_digest: Mapped[str] = mapped_column(PlainText)
    input_digest: Mapped[str] = mapped_column(PlainText)
    inputs: Mapped[list[dict[str, Any]]] = mapped_column(JsonMap)
    algorithm: Mapped[dict[str, Any] | None] = mapped_column(JsonMap)
    destinations: Mapped[list[str]] = mapped_column(JsonMap)
    state: Mapped[JobState] = mapped_column(EnumText(JobState))
    priority: Mapped[int]
    attempts: Mapped[int]
    max_attempts: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker_id: Mapped[str | None] = mapped_column(PlainText)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[Outcome | None] = mapped_column(EnumText(Outcome))
    reason_code: Mapped[str] = mapped_column(PlainText)
    reason_text: Mapped[str] = mapped_column(PlainText)
    device: Mapped[str] = mapped_column(PlainText)
    peak_memory_mib: Mapped[float | None] = mapped_column(Double)
    stage_times_s: Mapped[dict[str, float]] = mapped_column(JsonMap)
    priors: Mapped[list[dict[str, Any]] | None] = mapped_column(JsonMap)


class JobEvent(Table):
    """One change of state of a job; written by `storage.job_state` only."""

    __tablename__ = "job_event"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    from_state: Mapped[str] = mapped_column(PlainText)
    to_state: Mapped[str] = mapped_column(PlainText)
    actor: Mapped[str] = mapped_column(PlainText)
    reason_code: Mapped[str] = mapped_column(PlainText)
    reason_text: Mapped[str] = mapped_column(PlainText)


class Measurement(Table):
    """One quantity of one structure, as `storage.records.MeasurementRecord` has it."""

    __tablename__ = "measurement"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), index=True)
    structure: Mapped[str] = mapped_column(PlainText)
    segment_number: Mapped[int | None]
    label_value: Mapped[int]
    tracking_identifier: Mapped[str] = mapped_column(PlainText)
    tracking_uid: Mapped[str] = mapped_column(PlainText)
    category: Mapped[dict[str, Any]] = mapped_column(JsonMap)
    property_type: Mapped[dict[str, Any]] = mapped_column(JsonMap)
    type_modifier: Mapped[dict[str, Any] | None] = mapped_column(JsonMap)
    anatomic_region: Mapped[dict[str, Any] | None] = mapped_column(JsonMap)
    quantity: Mapped[dict[str, Any]] = mapped_column(JsonMap)
    value: Mapped[float] = mapped_column(Double)
    unit: Mapped[dict[str, Any]] = mapped_column(JsonMap)
    is_present: Mapped[bool]


class ResultObjectRow(Table):
    """One DICOM object made by a job; also how our own results are known again."""

    __tablename__ = "result_object"

    sop_instance_uid: Mapped[str] = mapped_column(PlainText, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), index=True)
    position: Mapped[int]
    kind: Mapped[ObjectKind] = mapped_column(EnumText(ObjectKind))
    sop_class_uid: Mapped[str] = mapped_column(PlainText)
    series_instance_uid: Mapped[str] = mapped_column(PlainText)
    series_number: Mapped[int]
    series_description: Mapped[str] = mapped_column(PlainText)
    path: Mapped[str] = mapped_column(PlainText)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(PlainText)


class Delivery(Table):
    """One row of the outbox: one job's results for one destination."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("job_id", "destination"),
        Index("ix_delivery_claim", "destination", "state", "due_at", "id"),
        Index(None, "state", "lease_expires_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"))
    destination: Mapped[str] = mapped_column(PlainText)
    kind: Mapped[DestinationKind] = mapped_column(EnumText(DestinationKind))
    state: Mapped[DeliveryState] = mapped_column(EnumText(DeliveryState))
    attempts: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker_id: Mapped[str | None] = mapped_column(PlainText)
    reason_code: Mapped[str] = mapped_column(PlainText)
    reason_text: Mapped[str] = mapped_column(PlainText)
    receipt: Mapped[dict[str, str]] = mapped_column(JsonMap)
    purpose: Mapped[Purpose] = mapped_column(
        EnumText(Purpose), default=Purpose.TELL, server_default=Purpose.TELL.value
    )
    is_rejectable: Mapped[bool] = mapped_column(default=False, server_default=false())


class DeliveryEvent(Table):
    """One change of state of a delivery; written by `storage.delivery_state` only."""

    __tablename__ = "delivery_event"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(
        ForeignKey(Delivery.id, ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    from_state: Mapped[str] = mapped_column(PlainText)
    to_state: Mapped[str] = mapped_column(PlainText)
    actor: Mapped[str] = mapped_column(PlainText)
    reason_code: Mapped[str] = mapped_column(PlainText)
    reason_text: Mapped[str] = mapped_column(PlainText)


class Audit(Table):
    """One security-relevant act; rows are only added, and pruned when they are old."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    event: Mapped[str] = mapped_column(PlainText)
    outcome: Mapped[str] = mapped_column(PlainText)
    actor: Mapped[str] = mapped_column(PlainText)
    detail: Mapped[dict[str, str]] = mapped_column(JsonMap)


class Rejected(Table):
    """How often callers with one title from one address were turned away for one reason."""

    __tablename__ = "rejected"

    reason: Mapped[str] = mapped_column(PlainText, primary_key=True)
    calling_ae_title: Mapped[str] = mapped_column(PlainText, primary_key=True)
    address: Mapped[str] = mapped_column(PlainText, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
