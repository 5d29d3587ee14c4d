"""The data set of a file that radnode wrote, behind its head (PS3.10 7.1): read, and compared."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from storage.errors import StorageError, UnreadableFile

_GROUP_LENGTH = struct.Struct("<I")
_GROUP_LENGTH_AT = 128 + len("DICM") + 8
"""PS3.10 7.1: preamble, prefix, then (0002,0000) in Explicit VR Little Endian: tag, VR, length."""
_BLOCK_BYTES = 1 << 18
_PASSING = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EINTR,
        errno.EAGAIN,
        errno.ETIMEDOUT,
        errno.ESTALE,
    }
)
"""Of the process or of a network: says nothing about the file, which can be read in a moment."""


class _KeptIsLost(Exception):
    """What was kept cannot be read any more."""


def is_passing(error: OSError) -> bool:
    """Whether an error says nothing about the file that was to be read."""
    return error.errno in _PASSING


def not_read(error: OSError | struct.error) -> StorageError:
    """What to raise for an error of these functions; its text holds no path, which has UIDs."""
    if isinstance(error, struct.error):
        return UnreadableFile("a kept file is shorter than its head")
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    kind = StorageError if is_passing(error) else UnreadableFile
    return kind(f"a file could not be read: {name}")


def blocks_of_data_set(path: Path) -> Iterator[bytes]:
    """Yield the data set of a file, block by block.

    Raises:
        OSError: it cannot be read. struct.error: it is shorter than its head.
    """
    with _opened(path) as (file, _):
        while block := file.read(_BLOCK_BYTES):
            yield block


def has_same_data_set(path: Path, kept: Path) -> bool:
    """Whether a file has the data set of one that is kept, byte for byte, whatever their heads say.

    False where the kept one is missing, cannot be read or is shorter than its head: of what is
    lost nobody can say that it was the same.

    Raises:
        OSError: `path` cannot be read, or nothing can just now (`is_passing`).
        struct.error: `path` is shorter than its head.
    """
    try:
        return _are_equal(path, kept)
    except _KeptIsLost:
        return False


def _are_equal(path: Path, kept: Path) -> bool:
    with _opened(path) as (one, size_bytes), ExitStack() as stack:
        with _lost_if_unreadable():
            other, kept_bytes = stack.enter_context(_opened(kept))
        if size_bytes != kept_bytes:
            return False
        while block := one.read(_BLOCK_BYTES):
            with _lost_if_unreadable():
                kept_block = other.read(_BLOCK_BYTES)
            if block != kept_block:
                return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file at its data set; with the size of that in bytes."""
    with path.open("rb") as file:
        file.seek(_GROUP_LENGTH_AT)
        (length,) = _GROUP_LENGTH.unpack(file.read(_GROUP_LENGTH.size))
        size_bytes = os.fstat(file.fileno()).st_size - file.seek(length, os.SEEK_CUR)
        if size_bytes < 0:
            raise struct.error("the head says that it is longer than the file")
        yield file, size_bytes


@contextmanager
def _lost_if_unreadable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_passing(error):
            raise
        raise _KeptIsLost from error
    except struct.error as error:
        raise _KeptIsLost from error
