"""The digest of a data set may be of another kind than SHA-256; what is kept stays as it is.

Revision ID: 0011_dataset_digest
Revises: 0010_identity
"""

from __future__ import annotations

from alembic import op

revision = "0011_dataset_digest"
down_revision = "0010_identity"
branch_labels = None
depends_on = None

TABLES = ("instance", "replaced_instance", "quarantine", "rejection_note")


def upgrade() -> None:
    """Rename the columns; both databases rename them in the indexes, too."""
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN dataset_sha256 TO dataset_digest")
