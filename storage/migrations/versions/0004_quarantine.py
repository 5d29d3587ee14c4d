"""Instances kept aside: replaced ones, and those that contradict what is known.

Revision ID: 0004_quarantine
Revises: 0003_evidence
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_quarantine"
down_revision = "0003_evidence"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Create both tables."""
    _replaced()
    _quarantine()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), nullable=False)


def _replaced() -> None:
    op.create_table(
        "replaced_instance",
        _id(),
        *_texts("study_instance_uid", "sop_instance_uid", "path", "dataset_sha256"),
        sa.Column("generation", sa.Integer(), nullable=False),
        _time("replaced_at"),
        sa.PrimaryKeyConstraint("id", name="pk_replaced_instance"),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["study.study_instance_uid"],
            name="fk_replaced_instance_study_instance_uid",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_replaced_instance_study_instance_uid", "replaced_instance", ["study_instance_uid"]
    )


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        _id(),
        *_texts("reason"),
        _time("quarantined_at"),
        *_texts("study_instance_uid", "series_instance_uid", "sop_instance_uid"),
        *_texts("sop_class_uid", "transfer_syntax_uid"),
        sa.Column("instance_number", sa.BigInteger()),
        sa.Column("study_header", JSON, nullable=False),
        sa.Column("series_header", JSON, nullable=False),
        *_texts("path"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        *_texts("sha256", "dataset_sha256", "calling_ae_title"),
        sa.Column("is_own_result", sa.Boolean(), nullable=False),
        _time("received_at"),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_quarantined_at", "quarantine", ["quarantined_at"])
    op.create_index("ix_quarantine_study_instance_uid", "quarantine", ["study_instance_uid"])
    op.create_index(
        "uq_quarantine_content", "quarantine", ["sop_instance_uid", "dataset_sha256"], unique=True
    )
