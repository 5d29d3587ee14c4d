"""A delivery tells a result, or withdraws what it told.

Revision ID: 0006_outcomes
Revises: 0005_receiver
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_outcomes"
down_revision = "0005_receiver"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("purpose", sa.Text(), nullable=False, server_default="tell")
    op.add_column("delivery", column)
