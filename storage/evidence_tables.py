"""Tables of what others say about a study: lists of its instances, and what is asked of whom."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.dicom_tables import Study
from storage.evidence_records import ConfirmationState, ListSource, ReportState
from storage.job_tables import Delivery
from storage.table_types import EnumText, PlainText, Table, UtcDateTime


class InstanceList(Table):
    """One list of instances that somebody sent; `is_open` while a performed step is in progress.

    The study need not be here yet, and a storage commitment request names none at all.
    """

    __tablename__ = "instance_list"
    __table_args__ = (
        UniqueConstraint("source", "calling_ae_title", "list_uid"),
        Index(None, "study_instance_uid"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[ListSource] = mapped_column(EnumText(ListSource))
    calling_ae_title: Mapped[str] = mapped_column(PlainText)
    list_uid: Mapped[str] = mapped_column(PlainText)
    study_instance_uid: Mapped[str] = mapped_column(PlainText)
    is_open: Mapped[bool]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ListedInstance(Table):
    """One instance of a list; UIDs of series and study are empty where the list has none."""

    __tablename__ = "listed_instance"

    list_id: Mapped[int] = mapped_column(
        ForeignKey(InstanceList.id, ondelete="CASCADE"), primary_key=True
    )
    sop_instance_uid: Mapped[str] = mapped_column(PlainText, primary_key=True, index=True)
    sop_class_uid: Mapped[str] = mapped_column(PlainText)
    series_instance_uid: Mapped[str] = mapped_column(PlainText)
    study_instance_uid: Mapped[str] = mapped_column(PlainText, index=True)
    is_required: Mapped[bool]


class Completion(Table):
    """One decision that a generation of a study was complete; rows are only ever added."""

    __tablename__ = "completion"

    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Study.study_instance_uid, ondelete="CASCADE"), primary_key=True
    )
    generation: Mapped[int] = mapped_column(primary_key=True)
    evidence: Mapped[str] = mapped_column(PlainText)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    waited_s: Mapped[float] = mapped_column(Double)


class CommitmentReport(Table):
    """What we owe the sender of a storage commitment request: one N-EVENT-REPORT."""

    __tablename__ = "commitment_report"
    __table_args__ = (Index(None, "state", "due_at"),)

    list_id: Mapped[int] = mapped_column(
        ForeignKey(InstanceList.id, ondelete="CASCADE"), primary_key=True
    )
    transaction_uid: Mapped[str] = mapped_column(PlainText)
    state: Mapped[ReportState] = mapped_column(EnumText(ReportState))
    is_duplicate: Mapped[bool]
    attempts: Mapped[int]
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason_text: Mapped[str] = mapped_column(PlainText)


class Confirmation(Table):
    """How far we are in asking a PACS whether it keeps what a delivery brought it."""

    __tablename__ = "confirmation"
    __table_args__ = (UniqueConstraint("transaction_uid"), Index(None, "state", "due_at"))

    delivery_id: Mapped[int] = mapped_column(
        ForeignKey(Delivery.id, ondelete="CASCADE"), primary_key=True
    )
    transaction_uid: Mapped[str] = mapped_column(PlainText)
    state: Mapped[ConfirmationState] = mapped_column(EnumText(ConfirmationState))
    attempts: Mapped[int]
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason_code: Mapped[str] = mapped_column(PlainText)
    reason_text: Mapped[str] = mapped_column(PlainText)
