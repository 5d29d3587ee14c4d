"""Associations know the receiver process that serves them.

Revision ID: 0005_receiver
Revises: 0004_quarantine
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_receiver"
down_revision = "0004_quarantine"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("receiver", sa.Text(), nullable=True)
    op.add_column("association", column)
