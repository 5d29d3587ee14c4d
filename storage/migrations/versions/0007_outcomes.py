"""A delivery tells a result, or withdraws what it told.

Revision ID: 0007_outcomes
Revises: 0006_one_digest
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_outcomes"
down_revision = "0006_one_digest"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("purpose", sa.Text(), nullable=False, server_default="tell")
    op.add_column("delivery", column)
