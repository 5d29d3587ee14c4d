"""Instances whose every byte follows from a seed and a number, so that none has to be kept."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from tests.peers.raw_elements import data_set

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
        rows, pixels = self._pixels()
        return data_set(
            {
                0x00080016: (b"UI", SOP_CLASS_UID.encode()),
                0x00080018: (b"UI", self.sop_instance_uid.encode()),
                0x00080060: (b"CS", b"OT"),
                0x00100010: (b"PN", b"Known^Bytes"),
                0x00100020: (b"LO", f"KNOWN{self._study}".encode()),
                0x0020000D: (b"UI", self._study_instance_uid.encode()),
                0x0020000E: (b"UI", self._series_instance_uid.encode()),
                0x00200013: (b"IS", str(self.number).encode()),
                0x00280002: _us(1),
                0x00280004: (b"CS", b"MONOCHROME2"),
                0x00280010: _us(rows),
                0x00280011: _us(_COLUMNS),
                0x00280100: _us(8),
                0x00280101: _us(8),
                0x00280102: _us(7),
                0x00280103: _us(0),
                0x7FE00010: (b"OB", pixels),
            }
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

    def _pixels(self) -> tuple[int, bytes]:
        chance = random.Random(f"{self.seed} {self.sender} {self.number}")
        rows = chance.randint(1, _LARGEST_BYTES // _COLUMNS)
        return rows, chance.randbytes(rows * _COLUMNS)


def _us(value: int) -> tuple[bytes, bytes]:
    return b"US", struct.pack("<H", value)
