"""Is a received data set whole? Element lengths are followed, values are skipped.

A sender that dies or lies leaves a data set that ends in the middle of a value. It must not be
answered Success, so the walk follows the lengths from the first to the last byte (PS3.5 7.1,
7.5, A.4). It holds no value and no recursion: memory stays flat, whatever the data set nests.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

from node.receive.dimse_status import StoreFailure, StoreRefused

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"

_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = 0xFFFEE000
_ITEM_DELIMITATION = 0xFFFEE00D
_SEQUENCE_DELIMITATION = 0xFFFEE0DD
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_DEEPEST_NESTING = 64
_CHUNK = 1 << 16
_LARGEST_INFLATED = 1 << 33


class _Kind(Enum):
    ELEMENTS = "elements"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class _Level:
    """One open value of undefined length, or the data set itself at the bottom."""

    kind: _Kind
    implicit: bool


def check_whole(file: BinaryIO, offset: int, size: int, transfer_syntax_uid: str) -> None:
    """Raise `StoreRefused` unless the data set in `file[offset:size]` is whole.

    A break exactly between two top-level elements cannot be seen.
    """
    file.seek(offset)
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        _check_deflated(file)
    else:
        _Walk(file, size, transfer_syntax_uid).run()


def _check_deflated(file: BinaryIO) -> None:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = 0
    try:
        while not inflate.eof and (data := inflate.unconsumed_tail or file.read(_CHUNK)):
            inflated += len(inflate.decompress(data, _CHUNK))
            if inflated > _LARGEST_INFLATED:
                raise StoreRefused(StoreFailure.UNREADABLE)
    except zlib.error as error:
        raise StoreRefused(StoreFailure.UNREADABLE) from error
    if not inflate.eof:
        raise StoreRefused(StoreFailure.TRUNCATED)


class _Walk:
    """One pass over a data set, element by element."""

    def __init__(self, file: BinaryIO, size: int, transfer_syntax_uid: str) -> None:
        self._file = file
        self._size = size
        self._order = "big" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "little"
        self._at = file.tell()
        self._levels = [_Level(_Kind.ELEMENTS, transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN)]

    def run(self) -> None:
        """Walk to the end of the data set."""
        while not self._at_end():
            header = self._read(8)
            tag = self._number(header[:2]) << 16 | self._number(header[2:4])
            if len(self._levels) == 1 and tag >> 16 == 0:
                return  # zeros after the last element: padding by a careless writer
            if self._levels[-1].kind is _Kind.ITEMS:
                self._item(tag, header)
            else:
                self._element(tag, header)

    def _at_end(self) -> bool:
        left = self._size - self._at
        if left == 0 and len(self._levels) == 1:
            return True
        if left >= 8:
            return False
        if len(self._levels) == 1 and not any(self._read(left)):
            return True
        raise StoreRefused(StoreFailure.TRUNCATED)

    def _item(self, tag: int, header: bytes) -> None:
        """Enter or skip one item or fragment, or leave the sequence (PS3.5 7.5.2)."""
        length = self._number(header[4:])
        if tag == _SEQUENCE_DELIMITATION:
            self._levels.pop()
        elif tag != _ITEM:
            raise StoreRefused(StoreFailure.UNREADABLE)
        elif length == _UNDEFINED_LENGTH:
            self._enter(_Kind.ELEMENTS, self._levels[-1].implicit)
        else:
            self._skip(length)

    def _element(self, tag: int, header: bytes) -> None:
        if tag == _ITEM_DELIMITATION and len(self._levels) > 1:
            self._levels.pop()
            return
        vr, length = self._vr_and_length(header)
        if length != _UNDEFINED_LENGTH:
            self._skip(length)
            return
        # UN of undefined length holds Implicit VR items (PS3.5 6.2.2).
        self._enter(_Kind.ITEMS, self._levels[-1].implicit or vr == b"UN")

    def _vr_and_length(self, header: bytes) -> tuple[bytes, int]:
        vr = header[4:6]
        if self._levels[-1].implicit or not vr.isalpha():
            return b"", self._number(header[4:])
        if vr in _LONG_VRS:
            return vr, self._number(self._read(4))
        return vr, self._number(header[6:])

    def _enter(self, kind: _Kind, implicit: bool) -> None:
        if len(self._levels) >= _DEEPEST_NESTING:
            raise StoreRefused(StoreFailure.UNREADABLE)
        self._levels.append(_Level(kind, implicit))

    def _number(self, raw: bytes) -> int:
        return int.from_bytes(raw, "big" if self._order == "big" else "little")

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise StoreRefused(StoreFailure.TRUNCATED)
        self._at += count
        return data

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > self._size:
            raise StoreRefused(StoreFailure.TRUNCATED)
        self._file.seek(self._at)
