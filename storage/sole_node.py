"""One node to a database: a lock that the node's main process holds as long as it lives.

PostgreSQL: an advisory lock of a session of its own, which goes with its connection. A server that
was restarted has forgotten it, so the node asks for it again (`keep`). One that has not noticed
that the connection is gone, since the network or this machine went without a word, would keep the
lock for hours: so it is told to look often, and a node ends the session that it had itself.
SQLite: a kernel lock beside the file, for databases that do not lie in the locked data directory.
Receivers and workers of the node need no lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from storage.database import Database, translated_errors
from storage.errors import DatabaseInUse, DatabaseUnavailable, StorageError

NODE_LOCK = 7_236_471_003
"""Any number, the same in every node: PostgreSQL's name for the lock on being the node."""
_LOOK_OFTEN = text(
    "SELECT set_config('tcp_keepalives_idle', '5', false), "
    "set_config('tcp_keepalives_interval', '5', false), "
    "set_config('tcp_keepalives_count', '2', false), "
    "pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
)
"""Lets the server end a session whose client is gone after 15 s, and tells which session it is."""
_END_FORMER = text(
    "SELECT pg_terminate_backend(pid), pg_sleep(0.5) FROM pg_stat_activity "
    "WHERE pid = :pid AND backend_start = :backend_start"
)


class SoleNode:
    """The hold on a database; see `sole_node`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._session: Connection | None = None
        self._former: dict[str, Any] | None = None
        self._descriptor: int | None = None

    def keep(self) -> None:
        """Take the hold, or make sure of it; to be called from time to time.

        Raises:
            DatabaseInUse: another node has it. DatabaseUnavailable: the server cannot be asked.
        """
        is_held = self._is_held_there() if self._db.is_postgresql else self._is_held_here()
        if not is_held:
            raise DatabaseInUse(
                f"{self._db.name}: another radnode serve uses it; "
                "stop that one, or give this one a database of its own"
            )

    def release(self) -> None:
        """Let another node have the database."""
        session, self._session = self._session, None
        descriptor, self._descriptor = self._descriptor, None
        if session is not None:
            with suppress(StorageError), translated_errors(self._db.name):
                session.execute(text("SELECT pg_advisory_unlock_all()"))
            # The lock is the session's: a pooled connection must not carry one on.
            session.invalidate()
            session.close()
        if descriptor is not None:
            os.close(descriptor)

    def _is_held_there(self) -> bool:
        if self._session is not None and self._is_alive(self._session):
            return True
        self.release()
        with translated_errors(self._db.name):
            session = self._db.session_of_its_own()
            try:
                return self._take(session)
            finally:
                if self._session is not session:
                    # Whatever it was in the middle of: no pooled connection carries it on.
                    session.invalidate()
                    session.close()

    def _take(self, session: Connection) -> bool:
        if self._former is not None:
            session.execute(_END_FORMER, self._former)
        lock = text("SELECT pg_try_advisory_lock(:id)")
        if not session.scalar(lock, {"id": NODE_LOCK}):
            return False
        own = session.execute(_LOOK_OFTEN).one()
        self._former = {"pid": own.pid, "backend_start": own.backend_start}
        self._session = session
        return True

    def _is_alive(self, session: Connection) -> bool:
        try:
            with translated_errors(self._db.name):
                session.execute(text("SELECT 1"))
        except StorageError:
            return False
        return True

    def _is_held_here(self) -> bool:
        if self._descriptor is not None:
            return True
        path = Path(f"{self._db.file}.node")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnavailable(f"{self._db.name}: no lock: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True


@contextmanager
def sole_node(db: Database) -> Iterator[SoleNode]:
    """Hold the database as its only node within the block.

    Raises:
        DatabaseInUse: another node has it. DatabaseUnavailable: the server cannot be asked.
    """
    hold = SoleNode(db)
    hold.keep()
    try:
        yield hold
    finally:
        hold.release()
