"""The jobs of a study are found by an index: those that there were leave some jobs out.

Revision ID: 0013_jobs_of_a_study
Revises: 0012_quarantine_numbers
"""

from __future__ import annotations

from alembic import op

revision = "0013_jobs_of_a_study"
down_revision = "0012_quarantine_numbers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_job_study_instance_uid", "job", ["study_instance_uid"])
