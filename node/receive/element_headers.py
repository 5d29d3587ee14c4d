"""How the header of an element is written: tag, VR, length (PS3.5 7.1), by the transfer syntax."""

from __future__ import annotations

import struct
from typing import NamedTuple

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"

LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""VRs whose length has four bytes, after two that are reserved; of `SHORT_VRS` it has two."""
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())


class ByteOrder(NamedTuple):
    """How the header of an element is read, and the parts of one with Explicit VR (PS3.5 7.1)."""

    tag_and_length: struct.Struct
    explicit: struct.Struct
    short_length: struct.Struct
    long_length: struct.Struct


_LITTLE_ENDIAN = ByteOrder(*map(struct.Struct, ("<HHI", "<HH2sH", "<H", "<I")))
_BIG_ENDIAN = ByteOrder(*map(struct.Struct, (">HHI", ">HH2sH", ">H", ">I")))


def byte_order(transfer_syntax_uid: str) -> ByteOrder:
    """Return the byte order of data sets in that transfer syntax (PS3.5 A.1 to A.5)."""
    return _BIG_ENDIAN if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else _LITTLE_ENDIAN
