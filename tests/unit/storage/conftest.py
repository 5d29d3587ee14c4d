"""A migrated database of each kind, fresh for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import storage.late_rows
from storage.database import Database, open_database, sqlite_url
from storage.instance_files import InstanceFiles
from storage.migrate import migrate
from tests.migrated_database import write_migrated
from tests.peers.postgres import PostgresServer
from tests.unit.storage.receiving_node import ReceivingNode

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgres_server: PostgresServer) -> str:
    url = postgres_server.new_database()
    database = open_database(url)
    migrate(database)
    database.close()
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
        write_migrated(path)
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


@pytest.fixture
def node(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReceivingNode]:
    """Rows wait until somebody asks for them."""
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 600.0)
    node = ReceivingNode(db, files)
    yield node
    node.recorder.close()
