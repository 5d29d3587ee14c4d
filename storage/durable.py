"""Writing so that a power cut loses nothing that was acknowledged."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from storage.errors import OutOfSpace, StorageError

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def durable_write(path: Path, content: bytes) -> None:
    """Write a private file so that `path` holds all of `content` or what it held before.

    Missing directories are made. When this returns, the file survives a power cut.

    Raises:
        OutOfSpace: the disk is full. StorageError: any other failure.
    """
    with file_errors():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(16)}.part")
        try:
            _write_synced(temporary, content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_dir(path.parent)


def make_private_dir(path: Path, name: str, *, is_synced: bool = True) -> None:
    """Make one directory that only we may enter; one that exists stays as it is.

    `is_synced`: a new one survives a power cut; otherwise that is left to the caller.

    `name` stands for it in a message, free of UIDs: relative to the data directory.

    Raises:
        StorageError: something that is no directory has its place.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise StorageError(
                f"{name} in the data directory is no directory: move what is there away"
            ) from None
    else:
        if is_synced:
            sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Bring a directory's entries to disk: a file's own fsync does not do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class file_errors:  # noqa: N801 -- used like a function; as a class it costs a fifth
    """Turn an OSError into ours; its own text is dropped, because it holds a path with UIDs.

    `only_full`: any other error than one of a full disk goes through as it is.
    """

    __slots__ = ("_only_full",)

    def __init__(self, *, only_full: bool = False) -> None:
        self._only_full = only_full

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in NO_SPACE:
            raise OutOfSpace("no space is left for files") from None
        if self._only_full:
            return
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise StorageError(f"a file could not be kept: {name}") from None


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
