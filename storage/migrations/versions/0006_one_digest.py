"""Instances keep the digest of their data set alone: nobody read the one of the whole file.

Revision ID: 0006_one_digest
Revises: 0005_receiver
"""

from __future__ import annotations

from alembic import op

revision = "0006_one_digest"
down_revision = "0005_receiver"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("instance", "quarantine"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("sha256")
