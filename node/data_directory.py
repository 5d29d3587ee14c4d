"""The node's data directory: private, held by one node at a time, and where its database lies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from config.load import database_url
from config.settings import Settings
from node.errors import CannotStart
from storage.database import Database, open_database, sqlite_url
from storage.errors import StorageError

DATABASE_FILE = "radnode.sqlite"
LOCK_FILE = "radnode.lock"
PORT_FILE = "receive.port"
TLS_PORT_FILE = "receive-tls.port"
WEB_PORT_FILE = "web.port"
_LOOKED_AT_S = 0.5


def make_private(data_dir: Path) -> None:
    """Create the directory if need be; files of this process are for its user only from here on.

    Raises `CannotStart` when the directory cannot be made or written.
    """
    os.umask(0o077)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"node.data_dir {data_dir}: {error.strerror}") from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise CannotStart(f"node.data_dir {data_dir}: not writable for this user")


def directory_problems(data_dir: Path) -> tuple[str, ...]:
    """What keeps this user from making or writing the directory; leaves nothing behind.

    A plain file in its way is not told: reading the settings has told it.
    """
    try:
        there = next(path for path in (data_dir, *data_dir.parents) if os.path.lexists(path))
        if there.is_symlink() and not there.exists():
            return (f"node.data_dir {data_dir}: {there} is a link that leads nowhere",)
        if not there.is_dir():
            return ()
        # Tried, since rights do not say it all: in /proc even root can make nothing.
        with TemporaryDirectory(prefix=".radnode-", dir=there):
            return ()
    except OSError as error:
        return (f"node.data_dir {data_dir}: {error.strerror}",)


@contextmanager
def sole_user(data_dir: Path) -> Iterator[None]:
    """Hold the directory; raises `CannotStart` when another running node holds it, or it cannot be.

    The lock is the kernel's (flock): it ends with the process, however that ends.
    """
    with _lock_file(data_dir) as lock:
        try:
            _take(lock)
        except BlockingIOError:
            raise CannotStart(
                f"node.data_dir {data_dir}: another radnode serve uses it; stop that one, "
                "or give this one a data_dir of its own"
            ) from None
        except OSError as error:
            raise CannotStart(f"node.data_dir {data_dir}: no lock: {error.strerror}") from error
        yield


def _take(lock: IO[str]) -> None:
    # `is_in_use` holds it for a moment: only who keeps it is another node.
    deadline = time.monotonic() + _LOOKED_AT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOKED_AT_S / 10)
        else:
            return


def is_in_use(data_dir: Path) -> bool:
    """Whether a running node of this machine holds the directory."""
    try:
        with (data_dir / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock_file(data_dir: Path) -> IO[str]:
    path = data_dir / LOCK_FILE
    try:
        return path.open("a+")
    except OSError as error:
        text = f"{path} cannot be opened as the lock: {error.strerror}; move it away"
        raise CannotStart(text) from error


def server_problems(settings: Settings) -> tuple[str, ...]:
    """What storage has against the URL of a database server; connects to none."""
    url = database_url(settings)
    if url is None or url.startswith("sqlite"):  # opening SQLite would make the file
        return ()
    try:
        open_database(url).close()
    except StorageError as error:
        return (f"storage.database_url: {error}",)
    return ()


@contextmanager
def kept_data(settings: Settings) -> Iterator[Database]:
    """Open the database: the configured one, or SQLite in the data directory."""
    url = database_url(settings) or sqlite_url(settings.node.data_dir / DATABASE_FILE)
    db = open_database(url, settings.storage.durability)
    try:
        yield db
    finally:
        db.close()


@contextmanager
def existing_data(settings: Settings) -> Iterator[Database]:
    """Open the database of a node that has run before, for looking and small changes.

    Raises `CannotStart` when there is none yet, or its schema is of another version.
    """
    # Here, since receivers and workers open the database too, and need no alembic.
    from storage.migrate import is_current

    data_dir = settings.node.data_dir
    if database_url(settings) is None and not (data_dir / DATABASE_FILE).is_file():
        raise CannotStart(f"node.data_dir {data_dir}: no database yet; run radnode serve first")
    with kept_data(settings) as db:
        if not is_current(db):
            raise CannotStart("the database has another version: run radnode migrate")
        yield db
