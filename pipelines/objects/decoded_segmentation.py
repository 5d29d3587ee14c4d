"""Reads a SEG back from its bytes with pydicom alone, so that a proof owes nothing to the writer.

Only uncompressed, and BINARY or FRACTIONAL with nothing between none and all: what `segmentation`
makes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from pipelines.objects.source_series import SourcePlane, functional_group, plane_of

Mask = NDArray[np.bool_]

UNREADABLE = (
    InvalidDicomError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
)
"""What pydicom and this module raise on a file that is not what it should be."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedFrames:
    """Pixel data as stored; a frame is unpacked when it is asked for, since all may be gigabytes.

    BINARY: one bit a pixel, lowest bit first, no padding between frames (PS3.5 8.1.1).
    FRACTIONAL: one byte a pixel, of which only 0 and `largest` may occur.
    """

    stored: NDArray[np.uint8]
    rows: int
    columns: int
    is_binary: bool
    largest: int

    def mask(self, index: int) -> Mask:
        """Give frame `index` (0-based) as [row, column]; raises ValueError for other values."""
        count = self.rows * self.columns
        first = index * count
        if self.is_binary:
            part = self.stored[first // 8 : -(-(first + count) // 8)]
            values = np.unpackbits(part, bitorder="little")[first % 8 : first % 8 + count]
        else:
            values = self.stored[first : first + count]
        mask: Mask = (values == self.largest).reshape(self.rows, self.columns)
        if np.count_nonzero(values) != np.count_nonzero(mask):
            raise ValueError("values between none and all")
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationFrame:
    """One frame: its segment, its place from its own functional groups, the slice it came from."""

    number: int
    segment_number: int
    plane: SourcePlane
    pixels: PackedFrames

    @property
    def mask(self) -> Mask:
        """The pixels of the segment, [row, column]."""
        return self.pixels.mask(self.number - 1)


@dataclass(frozen=True, slots=True)
class DecodedSegmentation:
    """A SEG taken apart."""

    dataset: Dataset
    frames: tuple[SegmentationFrame, ...]

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel as the shared Pixel Measures state it."""
        measures = functional_group(self.dataset, 0, "PixelMeasuresSequence")
        rows_mm, columns_mm = (float(value) for value in measures.PixelSpacing)
        return rows_mm * columns_mm * float(measures.SpacingBetweenSlices) / 1000.0

    def voxel_count(self, segment_number: int) -> int:
        """Count the voxels of one segment over all frames."""
        return sum(
            int(frame.mask.sum()) for frame in self.frames if frame.segment_number == segment_number
        )


def decode_segmentation(path: Path) -> DecodedSegmentation:
    """Read a SEG file; frames are unpacked as they are asked for.

    Raises one of `UNREADABLE` when it is no SEG in Explicit VR Little Endian, has pixel data
    shorter than its header says, or a frame that nothing places.
    """
    dataset = dcmread(path)
    if dataset.SOPClassUID != SegmentationStorage:
        raise ValueError("not a Segmentation")
    if dataset.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        raise ValueError("not in Explicit VR Little Endian")
    pixels = _packed(dataset)
    if len(dataset.PerFrameFunctionalGroupsSequence) != int(dataset.NumberOfFrames):
        raise ValueError("frames and functional groups differ in number")
    frames = (_frame(dataset, index, pixels) for index in range(int(dataset.NumberOfFrames)))
    return DecodedSegmentation(dataset, tuple(frames))


def _packed(dataset: Dataset) -> PackedFrames:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    stored = np.frombuffer(dataset.PixelData, dtype=np.uint8)
    kind = dataset.SegmentationType, int(dataset.BitsAllocated)
    if kind not in (("BINARY", 1), ("FRACTIONAL", 8)):
        raise ValueError("neither BINARY nor FRACTIONAL as written here")
    is_binary = kind[0] == "BINARY"
    if stored.size * (8 if is_binary else 1) < int(dataset.NumberOfFrames) * rows * columns:
        raise ValueError("pixel data are shorter than the header says")
    largest = 1 if is_binary else int(dataset.MaximumFractionalValue)
    return PackedFrames(stored, rows, columns, is_binary, largest)


def _frame(dataset: Dataset, index: int, pixels: PackedFrames) -> SegmentationFrame:
    def group(keyword: str) -> Any:
        return functional_group(dataset, index, keyword)

    image = group("DerivationImageSequence").SourceImageSequence[0]
    number = image.get("ReferencedFrameNumber")
    plane = plane_of(
        str(image.ReferencedSOPInstanceUID),
        int(number) if number is not None else None,
        group("PlanePositionSequence").ImagePositionPatient,
        group("PlaneOrientationSequence").ImageOrientationPatient,
        group("PixelMeasuresSequence").PixelSpacing,
    )
    segment_number = int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
    return SegmentationFrame(index + 1, segment_number, plane, pixels)
