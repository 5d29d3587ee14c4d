"""Part 10 files (PS3.10 7.1) as bytes: where the data set begins, and nothing decoded."""

from __future__ import annotations

from pathlib import Path

_PREAMBLE_AND_PREFIX = 132
_GROUP_LENGTH_ELEMENT = 12


def data_set_of(path: Path) -> bytes:
    """Return the bytes after the File Meta Information of a file.

    Raises:
        ValueError: it is no Part 10 file with a group length.
    """
    content = path.read_bytes()
    start = _PREAMBLE_AND_PREFIX + _GROUP_LENGTH_ELEMENT
    element = content[_PREAMBLE_AND_PREFIX:start]
    if content[128:132] != b"DICM" or element[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise ValueError("not a Part 10 file with a group length")
    return content[start + int.from_bytes(element[8:], "little") :]
