"""What a node says it keeps: the rows of its database, read from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from node.data_directory import DATABASE_FILE
from storage.database import open_database, sqlite_url
from storage.dicom_tables import Instance


@dataclass(frozen=True, slots=True)
class KeptInstance:
    """One row: the path is relative to the node's data directory."""

    sop_instance_uid: str
    path: str
    size_bytes: int
    dataset_digest: str


def sqlite_of(data_dir: Path) -> str:
    """Return the URL of the embedded database of a node."""
    return sqlite_url(data_dir / DATABASE_FILE)


def kept_instances(database_url: str) -> dict[str, KeptInstance]:
    """Return every instance that the database names, by SOP Instance UID."""
    columns = (Instance.sop_instance_uid, Instance.path, Instance.size_bytes)
    db = open_database(database_url)
    try:
        with db.read() as session:
            rows = session.execute(select(*columns, Instance.dataset_digest)).all()
    finally:
        db.close()
    return {row[0]: KeptInstance(*row) for row in rows}
