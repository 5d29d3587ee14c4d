"""Tables of what was received: associations, studies, series, instances."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.dicom_records import StudyState
from storage.errors import ConflictReason
from storage.table_types import EnumText, JsonMap, PlainText, Table, UtcDateTime


class Study(Table):
    """One study; attributes verbatim, `generation` counts its completions.

    `resent_count` is how often an instance came with another content in this generation.
    """

    __tablename__ = "study"
    __table_args__ = (Index(None, "state", "last_received_at"), Index(None, "last_received_at"))

    study_instance_uid: Mapped[str] = mapped_column(PlainText, primary_key=True)
    patient_id: Mapped[str] = mapped_column(PlainText, index=True)
    issuer_of_patient_id: Mapped[str] = mapped_column(PlainText)
    patient_name: Mapped[str] = mapped_column(PlainText)
    birth_date: Mapped[str] = mapped_column(PlainText)
    sex: Mapped[str] = mapped_column(PlainText)
    study_date: Mapped[str] = mapped_column(PlainText)
    study_time: Mapped[str] = mapped_column(PlainText)
    timezone_offset: Mapped[str] = mapped_column(PlainText)
    study_id: Mapped[str] = mapped_column(PlainText)
    accession_number: Mapped[str] = mapped_column(PlainText)
    issuer_of_accession_number: Mapped[str] = mapped_column(PlainText)
    study_description: Mapped[str] = mapped_column(PlainText)
    procedure_code: Mapped[dict[str, Any] | None] = mapped_column(JsonMap)
    state: Mapped[StudyState] = mapped_column(EnumText(StudyState))
    generation: Mapped[int]
    calling_ae_title: Mapped[str] = mapped_column(PlainText)
    first_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    complete_evidence: Mapped[str] = mapped_column(PlainText)
    complete_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    complete_waited_s: Mapped[float | None] = mapped_column(Double)
    resent_count: Mapped[int | None]
    listed_identity: Mapped[dict[str, str] | None] = mapped_column(JsonMap)


class Series(Table):
    """One series of one study."""

    __tablename__ = "series"

    series_instance_uid: Mapped[str] = mapped_column(PlainText, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Study.study_instance_uid, ondelete="CASCADE"), index=True
    )
    modality: Mapped[str] = mapped_column(PlainText)
    series_number: Mapped[int | None] = mapped_column(BigInteger)
    series_description: Mapped[str] = mapped_column(PlainText)
    body_part_examined: Mapped[str] = mapped_column(PlainText)


class Instance(Table):
    """One instance: the newest dataset that came under this SOP Instance UID."""

    __tablename__ = "instance"

    sop_instance_uid: Mapped[str] = mapped_column(PlainText, primary_key=True)
    series_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Series.series_instance_uid, ondelete="CASCADE"), index=True
    )
    sop_class_uid: Mapped[str] = mapped_column(PlainText)
    transfer_syntax_uid: Mapped[str] = mapped_column(PlainText)
    instance_number: Mapped[int | None] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(PlainText)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    dataset_digest: Mapped[str] = mapped_column(PlainText)
    is_own_result: Mapped[bool]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ReplacedInstance(Table):
    """The dataset that an instance had before another came under its UID; the file stays.

    `generation` is the study's as of then: the first one that reads the newer dataset.
    """

    __tablename__ = "replaced_instance"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Study.study_instance_uid, ondelete="CASCADE"), index=True
    )
    sop_instance_uid: Mapped[str] = mapped_column(PlainText)
    path: Mapped[str] = mapped_column(PlainText)
    dataset_digest: Mapped[str] = mapped_column(PlainText)
    generation: Mapped[int]
    replaced_at: Mapped[datetime] = mapped_column(UtcDateTime)


class QuarantinedInstance(Table):
    """One instance that contradicts what is known, kept aside; the headers are as they came."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index(None, "quarantined_at"),
        Index("uq_quarantine_content", "sop_instance_uid", "dataset_digest", unique=True),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[ConflictReason] = mapped_column(EnumText(ConflictReason))
    quarantined_at: Mapped[datetime] = mapped_column(UtcDateTime)
    study_instance_uid: Mapped[str] = mapped_column(PlainText, index=True)
    series_instance_uid: Mapped[str] = mapped_column(PlainText)
    sop_instance_uid: Mapped[str] = mapped_column(PlainText)
    sop_class_uid: Mapped[str] = mapped_column(PlainText)
    transfer_syntax_uid: Mapped[str] = mapped_column(PlainText)
    instance_number: Mapped[int | None] = mapped_column(BigInteger)
    study_header: Mapped[dict[str, Any]] = mapped_column(JsonMap)
    series_header: Mapped[dict[str, Any]] = mapped_column(JsonMap)
    path: Mapped[str] = mapped_column(PlainText)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    dataset_digest: Mapped[str] = mapped_column(PlainText)
    calling_ae_title: Mapped[str] = mapped_column(PlainText)
    is_own_result: Mapped[bool]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Association(Table):
    """One accepted association; `end` is empty while it runs, in the process `receiver`."""

    __tablename__ = "association"
    __table_args__ = (Index(None, "ended_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    calling_ae_title: Mapped[str] = mapped_column(PlainText)
    called_ae_title: Mapped[str] = mapped_column(PlainText)
    address: Mapped[str] = mapped_column(PlainText)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end: Mapped[str | None] = mapped_column(PlainText)
    receiver: Mapped[str | None] = mapped_column(PlainText)


class AssociationStudy(Table):
    """Which association brought instances of which study."""

    __tablename__ = "association_study"

    association_id: Mapped[int] = mapped_column(
        ForeignKey(Association.id, ondelete="CASCADE"), primary_key=True
    )
    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Study.study_instance_uid, ondelete="CASCADE"), primary_key=True, index=True
    )
