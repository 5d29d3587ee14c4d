"""Evidence of completeness, and storage commitment in both directions.

Revision ID: 0003_evidence
Revises: 0002_rejections
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_evidence"
down_revision = "0002_rejections"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and what a study remembers of its completion."""
    op.add_column("study", sa.Column("complete_waited_s", sa.Double()))
    op.add_column("study", sa.Column("replaced_at", sa.DateTime(timezone=True)))
    _instance_lists()
    _completions()
    _commitment_reports()
    _confirmations()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _times(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in names]


def _integers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [target], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _instance_lists() -> None:
    unique = ("source", "calling_ae_title", "list_uid")
    op.create_table(
        "instance_list",
        *_integers("id"),
        *_texts(*unique, "study_instance_uid"),
        *_flags("is_open"),
        *_times("received_at"),
        _key("instance_list", "id"),
        sa.UniqueConstraint(*unique, name=f"uq_instance_list_{'_'.join(unique)}"),
        sqlite_autoincrement=True,
    )
    _index("instance_list", "study_instance_uid")
    op.create_table(
        "listed_instance",
        *_integers("list_id"),
        *_texts("sop_instance_uid", "sop_class_uid", "series_instance_uid"),
        *_texts("study_instance_uid"),
        *_flags("is_required"),
        _key("listed_instance", "list_id", "sop_instance_uid"),
        _reference("listed_instance", "list_id", "instance_list.id"),
    )
    _index("listed_instance", "sop_instance_uid")
    _index("listed_instance", "study_instance_uid")


def _completions() -> None:
    op.create_table(
        "completion",
        *_texts("study_instance_uid"),
        *_integers("generation"),
        *_texts("evidence"),
        *_times("decided_at"),
        sa.Column("waited_s", sa.Double(), nullable=False),
        _key("completion", "study_instance_uid", "generation"),
        _reference("completion", "study_instance_uid", "study.study_instance_uid"),
    )


def _commitment_reports() -> None:
    op.create_table(
        "commitment_report",
        *_integers("list_id"),
        *_texts("transaction_uid", "state"),
        *_flags("is_duplicate"),
        *_integers("attempts"),
        *_times("requested_at", "due_at"),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        *_texts("reason_text"),
        _key("commitment_report", "list_id"),
        _reference("commitment_report", "list_id", "instance_list.id"),
    )
    _index("commitment_report", "state", "due_at")


def _confirmations() -> None:
    op.create_table(
        "confirmation",
        *_integers("delivery_id"),
        *_texts("transaction_uid", "state"),
        *_integers("attempts"),
        *_times("began_at", "due_at"),
        *_texts("reason_code", "reason_text"),
        _key("confirmation", "delivery_id"),
        _reference("confirmation", "delivery_id", "delivery.id"),
        sa.UniqueConstraint("transaction_uid", name="uq_confirmation_transaction_uid"),
    )
    _index("confirmation", "state", "due_at")
