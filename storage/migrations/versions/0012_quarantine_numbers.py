"""No number of a quarantined instance is given twice: SQLite had lost that in 0006_one_digest.

A person notes a number, and deletes by it for good: it must not lead to another patient's image.

Revision ID: 0012_quarantine_numbers
Revises: 0011_dataset_digest
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_quarantine_numbers"
down_revision = "0011_dataset_digest"
branch_labels = None
depends_on = None

GIVEN = sa.text(
    """
    SELECT max(
        (SELECT coalesce(max(id), 0) FROM quarantine),
        (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'quarantine'),
        (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'audit')
            - (SELECT count(*) FROM audit WHERE event <> 'instance_quarantined')
    )
    """
)
"""A number that none given so far exceeds.

Each instance that got one has a line in the audit trail, and numbers rise by one; so there are no
more than such lines. Of lines that were pruned nobody knows what they told: each counts.
"""


def upgrade() -> None:
    """Write the table of SQLite anew; PostgreSQL counts on in any case."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    given = connection.execute(GIVEN).scalar_one()
    anew = {"sqlite_autoincrement": True}
    with op.batch_alter_table("quarantine", recreate="always", table_kwargs=anew):
        pass
    connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'quarantine'"))
    go_on = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('quarantine', :given)")
    connection.execute(go_on, {"given": given})
