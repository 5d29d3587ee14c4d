from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import UniqueConstraint, inspect, make_url, text

from storage.database import Database, open_database, sqlite_url
from storage.errors import StorageError
from storage.migrate import current_revision, is_current, migrate, newest_revision
from storage.table_types import Table
from tests.migrated_database import migrated_database

MIGRATE = """
import sys
from storage.database import open_database
from storage.migrate import migrate
db = open_database(sys.argv[1])
sys.stdin.readline()
print(migrate(db))
"""


def test_migrations_make_exactly_the_tables_of_the_models(db: Database) -> None:
    with db.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Table.metadata) == []


def test_each_foreign_key_has_an_index_so_that_a_deletion_reads_no_table_through() -> None:
    for table in Table.metadata.tables.values():
        whole = [each for each in table.indexes if each.dialect_options["sqlite"]["where"] is None]
        unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
        columns = [table.primary_key.columns.keys(), *(each.columns.keys() for each in unique)]
        first = {each[0] for each in (*columns, *(each.columns.keys() for each in whole))}
        assert {each.parent.name for each in table.foreign_keys} <= first, table.name


def test_sqlite_gives_no_number_twice_where_the_models_say_so(tmp_path: Path) -> None:
    """A table that a migration writes anew loses this silently, and no comparison tells."""
    db = migrated_database(tmp_path / "radnode.db")
    told = text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    with db.connect() as connection:
        made = {name for name, sql in connection.execute(told) if "AUTOINCREMENT" in sql}
    db.close()
    tables = Table.metadata.tables.values()
    assert made == {each.name for each in tables if each.kwargs.get("sqlite_autoincrement")}
    # Each number that a person or another table may still hold after its row was deleted.
    assert made >= {each.name for each in tables if [*each.primary_key.columns.keys()] == ["id"]}


def test_a_database_is_current_after_migrating_and_not_before(empty_url: str) -> None:
    db = open_database(empty_url)
    assert current_revision(db) is None
    assert not is_current(db)
    assert migrate(db) == newest_revision()
    assert current_revision(db) == newest_revision()
    assert is_current(db)
    db.close()


def test_migrating_again_changes_nothing(db: Database) -> None:
    assert migrate(db) == migrate(db) == newest_revision()


def test_processes_that_migrate_at_once_do_not_collide(empty_url: str) -> None:
    command = [sys.executable, "-c", MIGRATE, empty_url]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in outputs] == [f"{newest_revision()}\n"] * 3, outputs


def test_a_database_of_a_newer_version_is_refused_with_the_way_back(db: Database) -> None:
    with db.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match=r"of a newer radnode .*restore the backup"):
        migrate(db)
    assert not is_current(db)


def test_a_database_of_another_program_is_refused_by_name_and_left_alone(empty_url: str) -> None:
    db = open_database(empty_url)
    with db.connect() as connection:
        connection.execute(text("CREATE TABLE invoice (id INTEGER)"))
    with pytest.raises(StorageError, match="is no radnode database") as caught:
        migrate(db)
    assert str(make_url(empty_url).database) in str(caught.value)
    with db.connect() as connection:
        assert inspect(connection).get_table_names() == ["invoice"]
    db.close()


def test_another_program_that_uses_alembic_is_refused_too(empty_url: str) -> None:
    db = open_database(empty_url)
    with db.connect() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    with pytest.raises(StorageError, match="is no radnode database"):
        migrate(db)
    db.close()


def test_a_file_that_is_no_database_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "radnode.db"
    path.write_bytes(b"no database at all, but long enough" * 100)
    db = open_database(sqlite_url(path))
    for ask in (migrate, current_revision):
        with pytest.raises(StorageError, match=r"is no radnode database.*the backup") as caught:
            ask(db)
        assert str(path) in str(caught.value)
    db.close()
    assert path.read_bytes() == b"no database at all, but long enough" * 100
