"""Whether the places that settings name (database, folders) can be what they must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from urllib.parse import urlsplit

from config.errors import Problem
from config.settings import FolderDestination, Settings

POSTGRESQL = ("postgresql", "postgresql+psycopg")


def _problem(key: str, value: object, message: str) -> Problem:
    return Problem(key=key, value=str(value), source="settings", message=message)


def database_can_be_addressed(settings: Settings) -> Iterable[Problem]:
    """The database URL has the form of one that we know; nothing is opened."""
    secret = settings.storage.database_url
    if secret is None:
        return
    scheme, colon, rest = secret.get_secret_value().partition("://")
    if scheme == "sqlite":
        message = _sqlite_fault(rest)
    elif colon and scheme in POSTGRESQL:
        message = _server_fault(rest)
    else:
        message = "start with sqlite:/// or postgresql+psycopg://"
    if message:
        # Of another form nothing is shown: a text without a scheme may be the password itself.
        shown = f"{scheme}://***" if colon and scheme in (*POSTGRESQL, "sqlite") else "***"
        yield _problem("storage.database_url", shown, message)


def _sqlite_fault(rest: str) -> str:
    is_file = rest.startswith("/") and rest.partition("?")[0] not in ("/", "/:memory:")
    return "" if is_file else "write sqlite:/// and the path of a file"


def _server_fault(rest: str) -> str:
    # A password may hold any sign but @, so that urlsplit sees only what follows it.
    user, at, place = rest.partition("@")
    try:
        parts = urlsplit(f"//{place if at else user}")
        port = parts.port
    except ValueError:
        return (
            "host or port cannot be read: write postgresql+psycopg://user:password@host:5432/name"
        )
    # Also in the path: after an @, a slash of the password ends what is read as the host.
    if "@" in parts.netloc + parts.path:
        return "write an @ of user name or password as %40, and a / as %2F"
    return "the port is 1 to 65535" if port == 0 else ""


def folders_can_be_made(settings: Settings) -> Iterable[Problem]:
    """No plain file stands where a folder is, or has to be made."""
    for key, folder in _folders(settings):
        blocking = _file_in_the_way(folder)
        if blocking is not None:
            where = "this" if blocking == folder else str(blocking)
            yield _problem(key, folder, f"{where} is a file: name a folder")


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "node.data_dir", settings.node.data_dir
    for number, destination in enumerate(settings.destinations):
        if isinstance(destination, FolderDestination):
            yield f"destinations[{number}].folder", destination.folder


def _file_in_the_way(folder: Path) -> Path | None:
    for path in (folder, *folder.parents):
        with suppress(OSError, ValueError):  # not there, or not to be seen: its parent tells
            return None if S_ISDIR(path.stat().st_mode) else path
    return None
