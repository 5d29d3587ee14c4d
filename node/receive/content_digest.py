"""Digests of a received Part 10 file: of all its bytes, and of its data set alone.

The data set's digest tells a repeated instance from a changed one: the File Meta Information
(PS3.10 7.1) is written by the receiver and says nothing about what the sender sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

_PREAMBLE_AND_PREFIX = 132
_GROUP_LENGTH_ELEMENT = 12
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ContentDigest:
    """Sizes in bytes and SHA-256 as lower-case hexadecimal; the data set starts at `offset`."""

    offset: int
    size: int
    sha256: str
    dataset_sha256: str


def content_digest(file: BinaryIO) -> ContentDigest:
    """Read a file that the receiver wrote, in pieces, and return its digests."""
    file.seek(0)
    head = file.read(_PREAMBLE_AND_PREFIX + _GROUP_LENGTH_ELEMENT)
    head += file.read(_meta_length(head))
    whole = hashlib.sha256(head)
    dataset = hashlib.sha256()
    size = len(head)
    while chunk := file.read(_CHUNK):
        whole.update(chunk)
        dataset.update(chunk)
        size += len(chunk)
    return ContentDigest(len(head), size, whole.hexdigest(), dataset.hexdigest())


def _meta_length(head: bytes) -> int:
    """Return what (0002,0000) File Meta Information Group Length says."""
    element = head[_PREAMBLE_AND_PREFIX:]
    if head[128:132] != b"DICM" or element[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise ValueError("not a Part 10 file with a group length")
    return int.from_bytes(element[8:12], "little")
