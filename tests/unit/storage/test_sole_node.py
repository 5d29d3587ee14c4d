"""A session that holds the database, whose connection has gone without the server's knowledge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Connection, text

from storage.database import Database, open_database
from storage.errors import DatabaseInUse
from storage.sole_node import SoleNode
from tests.peers.postgres import PostgresServer

pytestmark = pytest.mark.peer("postgresql")


class _Watched(Database):
    """Knows the last session that was opened on it."""

    session: Connection

    def session_of_its_own(self) -> Connection:
        self.session = super().session_of_its_own()
        return self.session


@pytest.fixture
def db(postgres_server: PostgresServer) -> Iterator[_Watched]:
    opened = open_database(postgres_server.new_database())
    opened.__class__ = _Watched
    assert isinstance(opened, _Watched)
    yield opened
    opened.close()


@contextmanager
def _cut_unseen(session: Connection) -> Iterator[None]:
    """Take the connection from the client; the server sees it open until the block ends."""
    driver: Any = session.connection.driver_connection
    number = driver.pgconn.socket
    kept = os.dup(number)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, number)
    try:
        yield
    finally:
        for descriptor in (kept, nothing):
            with suppress(OSError):
                os.close(descriptor)


def test_a_node_takes_its_database_again_from_a_session_that_only_the_server_still_has(
    db: _Watched,
) -> None:
    hold = SoleNode(db)
    hold.keep()
    with _cut_unseen(db.session):
        hold.keep()
        with pytest.raises(DatabaseInUse):
            SoleNode(db).keep()
    hold.release()


def test_the_server_soon_notices_that_the_machine_of_a_node_is_gone(db: _Watched) -> None:
    hold = SoleNode(db)
    hold.keep()
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    shown = [db.session.scalar(text(f"SHOW {name}")) for name in names]
    hold.release()

    assert shown == ["5", "5", "2"]


def test_a_node_that_was_refused_leaves_the_hold_of_the_other_one_alone(db: _Watched) -> None:
    first, second = SoleNode(db), SoleNode(db)
    first.keep()
    for _ in range(2):
        with pytest.raises(DatabaseInUse):
            second.keep()
    first.keep()
    first.release()
    second.keep()
    second.release()
