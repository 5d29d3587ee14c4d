"""Bring the schema up to date: alembic, driven from code, scripts shipped inside the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from storage.database import Database
from storage.errors import StorageError

SCRIPTS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"
LASTING_TABLES = ("study", "series", "instance", "job", "delivery")
MIGRATION_LOCK = 7_236_471_002
"""Any number, the same in every process: PostgreSQL's name for the lock on migrating."""


def migrate(db: Database) -> str:
    """Apply every missing migration in one transaction and return the revision.

    Several processes may call this at once: the first does the work, the others wait for it.

    Raises:
        StorageError: the database was written by a newer version of the program, or by another
            program.
    """
    with _locked(db) as connection, _readable_errors():
        if _is_foreign(connection):
            raise StorageError(
                f"{db.name} is no radnode database: it holds other tables; give radnode its own"
            )
        _refuse_newer(connection, db.name)
        command.upgrade(_config(connection), "head")
        return _revision(connection)


def current_revision(db: Database) -> str | None:
    """The schema's revision, or None where nothing was ever migrated."""
    with db.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_current(db: Database) -> bool:
    """Whether the schema is the one this version of the program works with."""
    return current_revision(db) == newest_revision()


def newest_revision() -> str:
    """The revision that this version of the program works with."""
    return str(ScriptDirectory.from_config(_config(None)).get_current_head())


@contextmanager
def _locked(db: Database) -> Iterator[Connection]:
    # On SQLite the write transaction itself keeps others out.
    with db.connect() as connection:
        if db.is_postgresql:
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": MIGRATION_LOCK})
        yield connection


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise StorageError(f"the schema cannot be migrated: {error}") from error


def _refuse_newer(connection: Connection, name: str) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config(None))
    if revision not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise StorageError(
            f"{name} is of a newer radnode (revision {revision}): install that version again, or "
            "restore the backup from before the upgrade"
        )


def _is_foreign(connection: Connection) -> bool:
    """Whether there are tables, but not those that every version of ours has."""
    present = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
    revision = MigrationContext.configure(connection).get_current_revision()
    is_empty = not present and revision is None
    return not is_empty and not present.issuperset(LASTING_TABLES)


def _config(connection: Connection | None) -> Config:
    config = Config()
    # The value goes through configparser, which gives a meaning to every percent sign.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        raise StorageError("the migration left no revision behind")
    return revision
