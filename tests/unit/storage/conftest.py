"""A migrated database of each kind, fresh for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database, open_database, sqlite_url
from storage.instance_files import InstanceFiles
from storage.migrate import migrate
from tests.peers.postgres import PostgresServer

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    _migrate(sqlite_url(path))
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgres_server: PostgresServer) -> str:
    url = postgres_server.new_database()
    _migrate(url)
    return url


@pytest.fixture(params=["sqlite", POSTGRESQL])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "radnode.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=["sqlite", POSTGRESQL])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database without any row."""
    if request.param == "sqlite":
        path = tmp_path / "radnode.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield sqlite_url(path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database(request.getfixturevalue("migrated_postgresql"))
    yield url
    server.drop_database(url)


@pytest.fixture
def db(db_url: str) -> Iterator[Database]:
    database = open_database(db_url)
    yield database
    database.close()


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path / "data")


def _migrate(url: str) -> None:
    database = open_database(url)
    migrate(database)
    database.close()
