"""Data elements in Explicit VR Little Endian (PS3.5 7.1), with any bytes as their value."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_LONG_VRS = frozenset({b"OB", b"OW", b"UN"})


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Encode one element; a value of odd length is padded as its VR demands."""
    padded = value + (b"\0" if vr in (b"UI", *_LONG_VRS) else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    length = struct.pack("<2xL" if vr in _LONG_VRS else "<H", len(padded))
    return head + length + padded


def data_set(elements: Mapping[int, tuple[bytes, bytes]]) -> bytes:
    """Encode elements, given as tag to VR and value, in ascending order of their tags."""
    return b"".join(element(tag, *elements[tag]) for tag in sorted(elements))
