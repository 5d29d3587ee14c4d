"""Jobs keep the earlier results of the patient that they saw.

Revision ID: 0007_priors
Revises: 0006_one_digest
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_priors"
down_revision = "0006_one_digest"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("priors", sa.JSON(), nullable=True))
    op.create_index("ix_study_patient_id", "study", ["patient_id"])
