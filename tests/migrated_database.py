"""SQLite databases at this version's schema: migrated once a process, then copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from storage.database import Database, open_database, sqlite_url
from storage.migrate import migrate


def migrated_database(path: Path) -> Database:
    """Open a new SQLite database at `path`, migrated and without a row."""
    write_migrated(path)
    return open_database(sqlite_url(path))


def write_migrated(path: Path) -> None:
    """Write the file of such a database, and its folder, both for their owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_bytes(_migrated_file())


@cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        database = open_database(sqlite_url(path))
        migrate(database)
        database.close()
        return path.read_bytes()
