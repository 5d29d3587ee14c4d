"""What pydicom and pynetdicom raise on bytes that are not what they should be."""

from __future__ import annotations

import struct
import zlib

PARSE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
