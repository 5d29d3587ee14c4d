"""Studies keep the identity under which their PACS lists them by now.

Revision ID: 0010_identity
Revises: 0009_rejection_notes
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_identity"
down_revision = "0009_rejection_notes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("listed_identity", sa.JSON(), nullable=True))
