"""The digest of a data set: it tells a changed instance from a repeated one, nearly always.

XXH3 with 128 bits, for it takes a fraction of the time of any cryptographic hash, and every
instance has one. Written `xxh3:` and 32 lower-case hexadecimal digits. A sender with bad intent
can make two data sets that share it, so nothing is taken for the same by it alone: see
`storage.same_content`. Where two did share it, the later one has a SHA-256 instead, `sha256:` and
64 digits. Rows of earlier versions have others: 64 digits alone, or `blake3:` and 64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from xxhash import xxh3_128

from storage.data_set_files import blocks_of_data_set

PREFIX = "xxh3:"
SURE_PREFIX = "sha256:"


class DatasetDigest:
    """Takes a data set in fragments."""

    def __init__(self) -> None:
        self._hash = xxh3_128()
        self.take = self._hash.update

    def text(self) -> str:
        """Return the digest of all that was taken."""
        return f"{PREFIX}{self._hash.hexdigest()}"


def digest_of(data_set: memoryview) -> str:
    """Return the digest of a data set that is all here."""
    return f"{PREFIX}{xxh3_128(data_set).hexdigest()}"


def text_of(number: int) -> str:
    """Return the digest that is this number of 128 bits."""
    return f"{PREFIX}{number:032x}"


def are_different(digest: str, other: str) -> bool:
    """Whether the data sets differ, as far as their digests alone can say: both are of one kind."""
    return digest != other and digest.startswith(PREFIX) and other.startswith(PREFIX)


def is_sure(digest: str) -> bool:
    """Whether no other data set can have this digest."""
    return digest.startswith(SURE_PREFIX)


def dataset_digest(path: Path) -> str:
    """Return the digest of the data set of a file that radnode wrote (PS3.10 7.1).

    Raises:
        OSError: it cannot be read. struct.error: it is shorter than its head.
    """
    digest = DatasetDigest()
    _take(path, digest.take)
    return digest.text()


def sure_digest(path: Path) -> str:
    """Return one that no other data set can have; raises the same."""
    content = hashlib.sha256()
    _take(path, content.update)
    return f"{SURE_PREFIX}{content.hexdigest()}"


def _take(path: Path, take: Callable[[bytes], object]) -> None:
    for block in blocks_of_data_set(path):
        take(block)
