"""The head of a Part 10 file: preamble, prefix and File Meta Information (PS3.10 7.1)."""

from __future__ import annotations

import struct
from functools import lru_cache

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

_PREAMBLE_AND_PREFIX = bytes(128) + b"DICM"
_SHORT = struct.Struct("<HH2sH")
_UL = struct.Struct("<HH2sHI")
_VERSION = struct.Struct("<HH2s2xI").pack(2, 0x0001, b"OB", 2) + b"\0\1"
_IMPLEMENTATION_CLASS_UID = str(PYNETDICOM_IMPLEMENTATION_UID).encode("ascii")
_IMPLEMENTATION_VERSION_NAME = PYNETDICOM_IMPLEMENTATION_VERSION.encode("ascii")
_REMEMBERED = 64


def file_head(sop_class_uid: bytes, sop_instance_uid: bytes, transfer_syntax_uid: str) -> bytes:
    """Return all that stands in a file before its data set; UIDs without padding."""
    before, after = _around_instance(sop_class_uid, transfer_syntax_uid)
    instance = _element(0x0003, b"UI", sop_instance_uid, b"\0")
    length = len(before) + len(instance) + len(after)
    return b"".join(
        (_PREAMBLE_AND_PREFIX, _UL.pack(2, 0x0000, b"UL", 4, length), before, instance, after)
    )


def head_pieces(sop_class_uid: bytes, transfer_syntax_uid: str) -> tuple[bytes, bytes, bytes]:
    """Return a head in pieces, without the instance's own.

    The first one ends with the group length, the second one before the length of the
    SOP Instance UID, the third one begins behind that UID.
    """
    before, after = _around_instance(sop_class_uid, transfer_syntax_uid)
    first = _PREAMBLE_AND_PREFIX + _UL.pack(2, 0x0000, b"UL", 4, 0)
    return first, before + _SHORT.pack(2, 0x0003, b"UI", 0)[:-2], after


@lru_cache(maxsize=_REMEMBERED)
def _around_instance(sop_class_uid: bytes, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the SOP Instance UID: the same, slice after slice."""
    before = _VERSION + _element(0x0002, b"UI", sop_class_uid, b"\0")
    after = (
        _element(0x0010, b"UI", transfer_syntax_uid.encode("ascii"), b"\0"),
        _element(0x0012, b"UI", _IMPLEMENTATION_CLASS_UID, b"\0"),
        _element(0x0013, b"SH", _IMPLEMENTATION_VERSION_NAME, b" "),
    )
    return before, b"".join(after)


def _element(number: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    value += padding * (len(value) % 2)
    return _SHORT.pack(2, number, vr, len(value)) + value
