"""Instances whose every byte follows from a seed and a number, so that none has to be kept."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage: as little as an instance can have."""

_UID_ROOT = "1.2.826.0.1.3680043.10.1561.73"
_INSTANCES_PER_SERIES = 40
_SERIES_PER_STUDY = 3
_LARGEST_BYTES = 400_000
_COLUMNS = 64


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """The `number`-th instance of one sender of one run."""

    seed: int
    sender: int
    number: int

    @property
    def sop_instance_uid(self) -> str:
        """Different for each instance of each sender of each seed."""
        return f"{self._series_instance_uid}.{self.number + 1}"

    def data_set(self) -> bytes:
        """Return the data set in Explicit VR Little Endian."""
        return b"".join(
            (
                _element(0x0008, 0x0016, b"UI", SOP_CLASS_UID.encode()),
                _element(0x0008, 0x0018, b"UI", self.sop_instance_uid.encode()),
                _element(0x0008, 0x0060, b"CS", b"OT"),
                _element(0x0010, 0x0010, b"PN", b"Known^Bytes"),
                _element(0x0010, 0x0020, b"LO", f"KNOWN{self._study}".encode()),
                _element(0x0020, 0x000D, b"UI", self._study_instance_uid.encode()),
                _element(0x0020, 0x000E, b"UI", self._series_instance_uid.encode()),
                _element(0x0020, 0x0013, b"IS", str(self.number).encode()),
                self._pixels(),
            )
        )

    @property
    def _study(self) -> int:
        return self.number // (_INSTANCES_PER_SERIES * _SERIES_PER_STUDY)

    @property
    def _study_instance_uid(self) -> str:
        return f"{_UID_ROOT}.{self.seed}.{self.sender}.{self._study}"

    @property
    def _series_instance_uid(self) -> str:
        return f"{self._study_instance_uid}.{self.number // _INSTANCES_PER_SERIES}"

    def _pixels(self) -> bytes:
        chance = random.Random(f"{self.seed} {self.sender} {self.number}")
        rows = chance.randint(1, _LARGEST_BYTES // _COLUMNS)
        described = (
            (0x0002, 1),
            (0x0010, rows),
            (0x0011, _COLUMNS),
            (0x0100, 8),
            (0x0101, 8),
            (0x0102, 7),
            (0x0103, 0),
        )
        elements = [_element(0x0028, tag, b"US", struct.pack("<H", n)) for tag, n in described]
        elements.insert(1, _element(0x0028, 0x0004, b"CS", b"MONOCHROME2"))
        content = chance.randbytes(rows * _COLUMNS)
        head = struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OB", len(content))
        return b"".join(elements) + head + content


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    padded = value + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(padded)) + padded
