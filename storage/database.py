"""The database: one way in, the same promises on SQLite and PostgreSQL.

A write transaction on SQLite starts with BEGIN IMMEDIATE, so that a reader never has to become a
writer half way, which SQLite answers with a deadlock. A commit is on disk when `begin` returns
(synchronous=FULL), unless the durability asks for less. A read sees one moment of the database
throughout. Errors of the drivers are translated here and nowhere else, and their texts are
dropped, since they can quote whole rows: all but those of connecting.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from config.setting_types import Durability
from storage.connection_faults import connection_fault
from storage.errors import Contended, DatabaseUnavailable, OutOfSpace, StorageError
from storage.postgresql_options import connect_options
from storage.write_turn import WriteTurn

BUSY_TIMEOUT_S = 30
POOL_SIZE = 5
POOL_OVERFLOW = 43
DISK_FULL = "53100"
SYNCHRONOUS: Mapping[Durability, str] = {"fsync": "FULL", "os": "NORMAL"}
"""NORMAL and not OFF: the log is still on disk before the file that it repairs is changed."""
GAVE_WAY = frozenset({"40P01", "40001"})
"""PostgreSQL's codes of a transaction that it ended for another: deadlock, serialization."""
UNREADABLE_URL = (
    "the database URL cannot be read: write sqlite:///<file> or "
    "postgresql://<user>:<password>@<host>:<port>/<database>"
)


class DriverTransaction(NamedTuple):
    """A cursor of the driver within a transaction, and the dialect that it speaks."""

    cursor: Any
    dialect: Dialect


class Database:
    """An open database; usable from many threads, one transaction a `with` block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading, self._writing = _engines(engine)
        self._turn = None if self.is_postgresql else WriteTurn(Path(self.file))

    @property
    def dialect(self) -> Dialect:
        """The SQL dialect, for the few statements that differ."""
        return self._engine.dialect

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL; otherwise it is SQLite."""
        return self._engine.dialect.name == "postgresql"

    @property
    def name(self) -> str:
        """What a person knows the database by, free of user and password."""
        url = self._engine.url
        if not self.is_postgresql:
            return f"database file {url.database}"
        return f"PostgreSQL database {url.database} on {url.host or 'this host'}"

    @property
    def file(self) -> str:
        """The file of a SQLite database, the name of another."""
        return str(self._engine.url.database)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A write transaction: committed at the end of the block, rolled back on any error."""
        opened = Session(self._writing, expire_on_commit=False)
        with self._my_turn(), translated_errors(self.name), opened as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read transaction; sees one moment of the database."""
        with translated_errors(self.name), Session(self._reading) as session:
            yield session

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A write transaction without the mapper, for migrations."""
        with self._my_turn(), translated_errors(self.name), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def drive(self) -> Iterator[DriverTransaction]:
        """A write transaction on the driver itself, for the few statements that must be quick."""
        with self._my_turn(), translated_errors(self.name), self._driver_errors():
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                if not self.is_postgresql:
                    cursor.execute("BEGIN IMMEDIATE")
                yield DriverTransaction(cursor, self.dialect)
                connection.commit()
            except self._dbapi.Error as error:
                if not self.is_postgresql:
                    # Closed alone it would keep its lock, as long as the error's traceback lives.
                    with suppress(self._dbapi.Error):
                        connection.rollback()
                # It may be broken: the next transaction gets another one.
                connection.invalidate(error)
                raise
            finally:
                # Also rolls back what was not committed.
                connection.close()

    @property
    def _dbapi(self) -> Any:
        return self._engine.dialect.dbapi

    @contextmanager
    def _driver_errors(self) -> Iterator[None]:
        """Wrap the driver's errors as SQLAlchemy does, for `translated_errors`."""
        try:
            yield
        except self._dbapi.Error as error:
            raise DBAPIError.instance(None, None, error, self._dbapi.Error) from None

    def session_of_its_own(self) -> Connection:
        """A connection without transactions, for what lasts as long as it; the caller closes it."""
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Give back every pooled connection."""
        self._engine.dispose()
        if self._turn is not None:
            self._turn.close()

    def _my_turn(self) -> AbstractContextManager[None]:
        return nullcontext() if self._turn is None else self._turn.taken(BUSY_TIMEOUT_S)


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite database file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def open_database(url: str, durability: Durability = "fsync") -> Database:
    """Open `sqlite:///<file>` or `postgresql://...`; connects at first use.

    `durability` is about SQLite: with `os` a commit is handed to the operating system, in order, so
    that a power cut may take the last ones back, and never breaks the file. PostgreSQL's own
    configuration decides for PostgreSQL.

    Raises:
        StorageError: the URL cannot be used (the text does not repeat it: it may hold a password).
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(UNREADABLE_URL) from None
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite_engine(parsed, durability))
    if parsed.get_backend_name() == "postgresql":
        return Database(_postgresql_engine(parsed))
    raise StorageError("the database URL must begin with sqlite:/// or postgresql://")


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Turn errors of SQLAlchemy and the drivers into ours, without texts that can quote a row.

    `name` is what a person knows the database by.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _translated(name, error) from None
    except PoolTimeout:
        raise DatabaseUnavailable("no database connection became free in time") from None
    except DBAPIError as error:
        if _code(error) == sqlite3.SQLITE_NOTADB:
            text = f"{name} is no radnode database, or damaged: restore the backup"
            raise StorageError(text) from None
        raise StorageError(f"the database refused a statement: {_kind(error)}") from None
    except SQLAlchemyError as error:
        raise StorageError(f"storage failed: {type(error).__name__}") from None


def _translated(name: str, error: DBAPIError) -> StorageError:
    if _code(error) in (sqlite3.SQLITE_FULL, DISK_FULL):
        return OutOfSpace("no space is left for the database")
    if _code(error) in GAVE_WAY:
        return Contended("the database was busy with the same rows")
    reason = connection_fault(error) or _kind(error)
    return DatabaseUnavailable(f"{name} is not available: {reason}")


def _kind(error: DBAPIError) -> str:
    """Name and number of a driver's error: all of it that is surely free of data."""
    code = _code(error)
    return type(error.orig).__name__ + (f" {code}" if code is not None else "")


def _code(error: DBAPIError) -> Any:
    original = error.orig
    return getattr(original, "sqlite_errorcode", None) or getattr(original, "sqlstate", None)


def _engines(engine: Engine) -> tuple[Engine, Engine]:
    """Two views of one connection pool: for reading and for writing."""
    if engine.dialect.name == "sqlite":
        return engine, engine.execution_options(begin="BEGIN IMMEDIATE")
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return reading, engine


def _postgresql_engine(url: URL) -> Engine:
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            connect_args=dict(connect_options(url.query)),
            hide_parameters=True,
        )
    except ImportError:
        raise StorageError("PostgreSQL needs psycopg: install radnode[postgresql]") from None


def _sqlite_engine(url: URL, durability: Durability) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise StorageError("SQLite needs a file: a database in memory would lose everything")
    _create_private(Path(str(url.database)))
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(engine, "connect", partial(_set_up_sqlite, SYNCHRONOUS[durability]))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private(path: Path) -> None:
    """Make the file before SQLite does: with 0600, which its -wal and -shm files copy.

    One that came back from a backup is made private, too, where it is ours.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        text = f"database file {path} cannot be opened: {error.strerror}"
        raise DatabaseUnavailable(text) from None
    with suppress(PermissionError):
        os.fchmod(descriptor, 0o600)
    os.close(descriptor)


def _set_up_sqlite(synchronous: str, connection: sqlite3.Connection, _record: object) -> None:
    # None: the driver starts no transactions of its own, `_begin_sqlite` does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
