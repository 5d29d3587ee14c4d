"""A database that cannot be reached is named with the reason, and without its password."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from storage.database import open_database, sqlite_url
from storage.errors import DatabaseUnavailable
from tests.peers.ports import free_port
from tests.peers.postgres import PostgresServer

PASSWORD = "kept-to-ourselves"


def _told(url: str) -> str:
    db = open_database(url)
    with pytest.raises(DatabaseUnavailable) as raised, db.read() as session:
        session.execute(text("SELECT 1"))
    db.close()
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_named_with_the_reason(host: str) -> None:
    told = _told(f"postgresql://radnode:{PASSWORD}@{host}:{free_port()}/hospital")

    assert told.startswith(f"PostgreSQL database hospital on {host} is not available: ")
    assert ("Connection refused" in told) == (host == "127.0.0.1")
    assert ("failed to resolve host" in told) == (host != "127.0.0.1")
    assert PASSWORD not in told
    assert "\n" not in told


@pytest.mark.peer("postgresql")
def test_a_server_that_lets_us_not_in_says_why(postgres_server: PostgresServer) -> None:
    with_password = postgres_server.url("no_such_database").replace("@", f":{PASSWORD}@")
    nobody = postgres_server.url().replace("radnode@", f"nobody:{PASSWORD}@")

    assert 'database "no_such_database" does not exist' in _told(with_password)
    assert 'role "nobody" does not exist' in _told(nobody)
    assert PASSWORD not in _told(with_password) + _told(nobody)


def test_a_database_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    place = tmp_path / "radnode.sqlite"
    place.mkdir()

    with pytest.raises(DatabaseUnavailable, match=f"database file {place} cannot be opened"):
        open_database(sqlite_url(place))
