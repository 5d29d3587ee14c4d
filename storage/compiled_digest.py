"""Where compiled code finds the function that digests of data sets are taken with.

It is the very one that Python's xxhash calls: its module hands it out by name, as the library does
that it may be linked with. Elsewhere there is none, and digests are taken by Python.
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from typing import Any

from storage.dataset_digest import digest_of, text_of

_SAMPLE = bytes(range(256)) * 5


class _Hash(ctypes.Structure):
    """XXH128_hash_t."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))


def _function_of(library: str | None) -> Any:
    if library is None:
        return None
    try:
        found = ctypes.CDLL(library).XXH3_128bits
    except (AttributeError, OSError):
        return None
    found.argtypes, found.restype = [ctypes.c_char_p, ctypes.c_size_t], _Hash
    return found


def _address_of(function: Any) -> int:
    """Return where it lies; 0: there is none, or it is another one of that name."""
    if function is None:
        return 0
    made = function(_SAMPLE, len(_SAMPLE))
    if text_of(made.high << 64 | made.low) != digest_of(memoryview(_SAMPLE)):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _module() -> str | None:
    spec = find_spec("xxhash._xxhash")
    return None if spec is None else spec.origin


XXH3_ADDRESS = _address_of(_function_of(_module()))
"""XXH3_128bits(const void *, size_t), which returns two words of 64 bits; 0: there is none."""
