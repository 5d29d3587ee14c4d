"""Run by alembic: applies the scripts on the connection that `storage.migrate` opened."""

from __future__ import annotations

from alembic import context

import storage.dicom_tables
import storage.evidence_tables
import storage.job_tables
import storage.rejection_tables  # noqa: F401  the import fills the metadata
from storage.table_types import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
