"""Rejection notes: those that a PACS may be sent, and those that came.

Revision ID: 0009_rejection_notes
Revises: 0008_priors
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_rejection_notes"
down_revision = "0008_priors"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column: sa.Column[bool] = sa.Column(
        "is_rejectable", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("delivery", column)
    op.create_table(
        "rejection_note",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "study_instance_uid",
            sa.Text(),
            sa.ForeignKey("study.study_instance_uid", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("dataset_sha256", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sqlite_autoincrement=True,
    )
    unique = ["sop_instance_uid", "dataset_sha256"]
    op.create_index("uq_rejection_note_content", "rejection_note", unique, unique=True)
    op.create_index("ix_rejection_note_state_id", "rejection_note", ["state", "id"])
    op.create_index(
        "ix_rejection_note_study_instance_uid", "rejection_note", ["study_instance_uid"]
    )
    op.create_table(
        "named_instance",
        sa.Column(
            "note_id",
            sa.Integer(),
            sa.ForeignKey("rejection_note.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("sop_instance_uid", sa.Text(), primary_key=True),
    )
    op.create_index("ix_named_instance_sop_instance_uid", "named_instance", ["sop_instance_uid"])
