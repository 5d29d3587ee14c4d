"""The first schema.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True)
HAS_PIPELINE = sa.text("pipeline_name <> ''")
HAS_NO_PIPELINE = sa.text("pipeline_name = ''")


def upgrade() -> None:
    """Create every table."""
    _studies()
    _series_and_instances()
    _associations()
    _jobs()
    _results()
    _deliveries()
    _events("job_event", "job_id", "job.id")
    _events("delivery_event", "delivery_id", "delivery.id")
    _audit()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _times(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=nullable) for name in names]


def _integers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in names]


def _jsons(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, JSON, nullable=nullable) for name in names]


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [target], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _studies() -> None:
    op.create_table(
        "study",
        *_texts("study_instance_uid", "patient_id", "issuer_of_patient_id", "patient_name"),
        *_texts("birth_date", "sex", "study_date", "study_time", "timezone_offset", "study_id"),
        *_texts("accession_number", "issuer_of_accession_number", "study_description"),
        *_jsons("procedure_code", nullable=True),
        *_texts("state"),
        *_integers("generation"),
        *_texts("calling_ae_title"),
        *_times("first_received_at", "last_received_at"),
        *_texts("complete_evidence"),
        *_times("complete_at", nullable=True),
        _key("study", "study_instance_uid"),
    )
    _index("study", "last_received_at")
    _index("study", "state", "last_received_at")


def _series_and_instances() -> None:
    op.create_table(
        "series",
        *_texts("series_instance_uid", "study_instance_uid", "modality"),
        sa.Column("series_number", sa.BigInteger()),
        *_texts("series_description", "body_part_examined"),
        _key("series", "series_instance_uid"),
        _reference("series", "study_instance_uid", "study.study_instance_uid"),
    )
    _index("series", "study_instance_uid")
    op.create_table(
        "instance",
        *_texts("sop_instance_uid", "series_instance_uid", "sop_class_uid"),
        *_texts("transfer_syntax_uid"),
        sa.Column("instance_number", sa.BigInteger()),
        *_texts("path"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        *_texts("sha256", "dataset_sha256"),
        sa.Column("is_own_result", sa.Boolean(), nullable=False),
        *_times("received_at"),
        _key("instance", "sop_instance_uid"),
        _reference("instance", "series_instance_uid", "series.series_instance_uid"),
    )
    _index("instance", "series_instance_uid")


def _associations() -> None:
    op.create_table(
        "association",
        *_integers("id"),
        *_texts("calling_ae_title", "called_ae_title", "address"),
        *_times("opened_at"),
        *_times("ended_at", nullable=True),
        sa.Column("end", sa.Text()),
        _key("association", "id"),
        sqlite_autoincrement=True,
    )
    _index("association", "ended_at")
    op.create_table(
        "association_study",
        *_integers("association_id"),
        *_texts("study_instance_uid"),
        _key("association_study", "association_id", "study_instance_uid"),
        _reference("association_study", "association_id", "association.id"),
        _reference("association_study", "study_instance_uid", "study.study_instance_uid"),
    )
    _index("association_study", "study_instance_uid")


def _jobs() -> None:
    op.create_table(
        "job",
        *_integers("id"),
        *_texts("study_instance_uid"),
        *_integers("generation"),
        *_texts("pipeline_name", "pipeline_digest", "input_digest"),
        *_jsons("inputs"),
        *_jsons("algorithm", nullable=True),
        *_jsons("destinations"),
        *_texts("state"),
        *_integers("priority", "attempts", "max_attempts"),
        *_times("due_at", "created_at"),
        *_times("started_at", "finished_at", nullable=True),
        sa.Column("worker_id", sa.Text()),
        *_times("lease_expires_at", nullable=True),
        sa.Column("outcome", sa.Text()),
        *_texts("reason_code", "reason_text", "device"),
        sa.Column("peak_memory_mib", sa.Double()),
        *_jsons("stage_times_s"),
        _key("job", "id"),
        _reference("job", "study_instance_uid", "study.study_instance_uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_claim", "job", ["state", "priority", "due_at", "id"])
    _unique_jobs("uq_job_input", HAS_PIPELINE, "pipeline_digest", "input_digest")
    _unique_jobs("uq_job_refusal", HAS_NO_PIPELINE, "generation")


def _unique_jobs(name: str, where: sa.TextClause, *columns: str) -> None:
    columns = ("study_instance_uid", *columns)
    op.create_index(
        name, "job", list(columns), unique=True, sqlite_where=where, postgresql_where=where
    )


def _results() -> None:
    op.create_table(
        "measurement",
        *_integers("id", "job_id"),
        *_texts("structure"),
        sa.Column("segment_number", sa.Integer()),
        *_integers("label_value"),
        *_texts("tracking_identifier", "tracking_uid"),
        *_jsons("category", "property_type"),
        *_jsons("type_modifier", "anatomic_region", nullable=True),
        *_jsons("quantity"),
        sa.Column("value", sa.Double(), nullable=False),
        *_jsons("unit"),
        sa.Column("is_present", sa.Boolean(), nullable=False),
        _key("measurement", "id"),
        _reference("measurement", "job_id", "job.id"),
        sqlite_autoincrement=True,
    )
    _index("measurement", "job_id")
    op.create_table(
        "result_object",
        *_texts("sop_instance_uid"),
        *_integers("job_id", "position"),
        *_texts("kind", "sop_class_uid", "series_instance_uid"),
        *_integers("series_number"),
        *_texts("series_description", "path"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        *_texts("sha256"),
        _key("result_object", "sop_instance_uid"),
        _reference("result_object", "job_id", "job.id"),
    )
    _index("result_object", "job_id")


def _deliveries() -> None:
    op.create_table(
        "delivery",
        *_integers("id", "job_id"),
        *_texts("destination", "kind", "state"),
        *_integers("attempts"),
        *_times("due_at", "created_at"),
        *_times("settled_at", "lease_expires_at", nullable=True),
        sa.Column("worker_id", sa.Text()),
        *_texts("reason_code", "reason_text"),
        *_jsons("receipt"),
        _key("delivery", "id"),
        _reference("delivery", "job_id", "job.id"),
        sa.UniqueConstraint("job_id", "destination", name="uq_delivery_job_id_destination"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_delivery_claim", "delivery", ["destination", "state", "due_at", "id"])
    _index("delivery", "state", "lease_expires_at")


def _events(table: str, owner: str, target: str) -> None:
    op.create_table(
        table,
        *_integers("id", owner),
        *_times("at"),
        *_texts("from_state", "to_state", "actor", "reason_code", "reason_text"),
        _key(table, "id"),
        _reference(table, owner, target),
        sqlite_autoincrement=True,
    )
    _index(table, owner)


def _audit() -> None:
    op.create_table(
        "audit",
        *_integers("id"),
        *_times("at"),
        *_texts("event", "outcome", "actor"),
        *_jsons("detail"),
        _key("audit", "id"),
        sqlite_autoincrement=True,
    )
