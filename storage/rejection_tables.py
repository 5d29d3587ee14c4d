"""Tables of the rejection notes that came (IHE IOCM), and of the instances that they name."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.dicom_tables import Study
from storage.rejection_records import NoteState
from storage.table_types import EnumText, PlainText, Table, UtcDateTime


class RejectionNote(Table):
    """One Key Object Selection that came; `title` is empty until its file was read."""

    __tablename__ = "rejection_note"
    __table_args__ = (
        Index("uq_rejection_note_content", "sop_instance_uid", "dataset_digest", unique=True),
        Index(None, "state", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey(Study.study_instance_uid, ondelete="CASCADE"), index=True
    )
    sop_instance_uid: Mapped[str] = mapped_column(PlainText)
    dataset_digest: Mapped[str] = mapped_column(PlainText)
    path: Mapped[str] = mapped_column(PlainText)
    calling_ae_title: Mapped[str] = mapped_column(PlainText)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[NoteState] = mapped_column(EnumText(NoteState))
    title: Mapped[str] = mapped_column(PlainText)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class NamedInstance(Table):
    """One instance that a note names; what came of the note decides whether that counts."""

    __tablename__ = "named_instance"

    note_id: Mapped[int] = mapped_column(
        ForeignKey(RejectionNote.id, ondelete="CASCADE"), primary_key=True
    )
    sop_instance_uid: Mapped[str] = mapped_column(PlainText, primary_key=True, index=True)
