"""Read a NIfTI-1 volume (.nii.gz, one file) and where its voxels lie.

Strict: what is not understood is refused, because a volume in the wrong place would be worse
than none. The layout is that of the NIfTI-1.1 header, 348 bytes.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.demo.errors import InvalidNifti

HEADER_BYTES = 348
MILLIMETRE = 2
_SPATIAL_UNIT = 0x07

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
"""NIfTI datatype code -> numpy type, byte order aside."""


@dataclass(frozen=True, slots=True)
class NiftiVolume:
    """Voxels [i, j, k] and the 4x4 matrix from (i, j, k) to RAS mm."""

    voxels: NDArray[Any]
    affine_ras: NDArray[np.float64]


def read_nifti(path: Path) -> NiftiVolume:
    """Return the volume in `path`, with the file's own scaling applied where it states one.

    Raises `InvalidNifti` for a file that is damaged, or not three-dimensional, or not in mm.
    """
    content = _unpacked(path)
    header = _Header(content, path.name)
    return NiftiVolume(header.voxels(content), header.affine_ras())


def _unpacked(path: Path) -> bytes:
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidNifti(f"{path.name}: not readable as gzip ({error})") from error
    if len(content) < HEADER_BYTES + 4 or content[344:348] != b"n+1\0":
        raise InvalidNifti(f"{path.name}: not a NIfTI-1 file with header and voxels in one")
    return content


class _Header:
    """The fields that matter, read in the byte order in which sizeof_hdr is 348."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name = content, name
        self._order = "<" if content[:4] == struct.pack("<i", HEADER_BYTES) else ">"
        if self._field("i", 0) != (HEADER_BYTES,):
            raise InvalidNifti(f"{name}: the header does not begin with its size")
        if int(self._field("B", 123)[0]) & _SPATIAL_UNIT != MILLIMETRE:
            raise InvalidNifti(f"{name}: lengths are not in millimetres")
        self._pixdim = self._field("8f", 76)

    def voxels(self, content: bytes) -> NDArray[Any]:
        """Return the voxels [i, j, k]; scaled ones as float64, others as they are stored."""
        shape, kind = self._shape(), self._type()
        offset = int(self._field("f", 108)[0])
        count = math.prod(shape)
        if offset < HEADER_BYTES + 4 or offset + count * kind.itemsize > len(content):
            raise InvalidNifti(f"{self._name}: the voxels do not fit into the file")
        stored = np.frombuffer(content, kind, count, offset).reshape(shape, order="F")
        slope, intercept = self._field("2f", 112)
        if slope == 0 or not math.isfinite(slope):  # the format's way to say "not scaled"
            return stored.astype(kind.newbyteorder("="))
        return stored * float(slope) + float(intercept)

    def affine_ras(self) -> NDArray[np.float64]:
        """Return the 4x4 matrix of the sform if it is set, else of the qform."""
        qform_code, sform_code = self._field("2h", 252)
        if sform_code > 0:
            affine = np.vstack([np.reshape(self._field("12f", 280), (3, 4)), [0, 0, 0, 1]])
        elif qform_code > 0:
            affine = self._from_quaternion()
        else:
            raise InvalidNifti(f"{self._name}: neither sform nor qform says where it lies")
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
            raise InvalidNifti(f"{self._name}: the voxels' places are not a volume")
        return affine

    def _from_quaternion(self) -> NDArray[np.float64]:
        b, c, d, *offset = (float(value) for value in self._field("6f", 256))
        a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        handedness = -1.0 if self._pixdim[0] < 0 else 1.0
        affine = np.eye(4)
        affine[:3, :3] = rotation * (np.array(self._pixdim[1:4]) * [1.0, 1.0, handedness])
        affine[:3, 3] = offset
        return affine

    def _shape(self) -> tuple[int, int, int]:
        count, *sizes = self._field("8h", 40)
        if count < 3 or min(sizes[:3]) < 1 or any(size > 1 for size in sizes[3:count]):
            raise InvalidNifti(f"{self._name}: {count} dimensions {sizes}, not one volume")
        return int(sizes[0]), int(sizes[1]), int(sizes[2])

    def _type(self) -> np.dtype[Any]:
        code = int(self._field("h", 70)[0])
        if code not in _TYPES:
            raise InvalidNifti(f"{self._name}: datatype {code} is none that we read")
        return np.dtype(self._order + _TYPES[code])

    def _field(self, form: str, offset: int) -> tuple[Any, ...]:
        return struct.unpack_from(self._order + form, self._content, offset)
