"""Jobs keep the earlier results of the patient that they saw.

Revision ID: 0008_priors
Revises: 0007_outcomes
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_priors"
down_revision = "0007_outcomes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("priors", sa.JSON(), nullable=True))
    op.create_index("ix_study_patient_id", "study", ["patient_id"])
