"""The gate before a re-encoded SEG leaves: its file, read back, has the voxels of the kept one.

Frames are decoded by pydicom as a receiver would decode them, and placed by their own tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from pipelines.errors import ProofFailed
from pipelines.objects.decoded_segmentation import DecodedSegmentation, SegmentationFrame
from pipelines.objects.encoded_frames import SliceKey, slice_key
from pipelines.objects.encoding import Part, SegmentationForm
from pipelines.objects.proof import PLACE_TOLERANCE, readable
from pipelines.objects.source_series import functional_group

_Frames = Iterable[tuple[Dataset, NDArray[np.uint8]]]


def prove_encoding(path: Path, kept: DecodedSegmentation, part: Part) -> None:
    """Prove the SEG at `path` equal to segments `part.first` to `part.last` of `kept`.

    Raises `ProofFailed`.
    """
    with readable("re-encoded SEG"):
        written = dcmread(path)
        _prove_identity(written, kept.dataset, part)
        expected = {
            (frame.segment_number - part.first + 1, slice_key(frame)): frame
            for frame in kept.frames
            if part.first <= frame.segment_number <= part.last
        }
        _prove_frames(written, expected, part)


def _prove_identity(written: Dataset, kept: Dataset, part: Part) -> None:
    found = written.SOPClassUID, str(written.SegmentationType)
    if found != (part.form.sop_class_uid, part.form.value):
        raise ProofFailed("re-encoded SEG has another Segmentation Type than was asked for")
    for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID", "Rows", "Columns"):
        if written.get(keyword) != kept.get(keyword):
            raise ProofFailed(f"re-encoded SEG has another {keyword}")
    tracked = [str(item.TrackingUID) for item in kept.SegmentSequence]
    described = [
        (int(item.SegmentNumber), str(item.TrackingUID)) for item in written.SegmentSequence
    ]
    if described != list(enumerate(tracked[part.first - 1 : part.last], 1)):
        raise ProofFailed("re-encoded SEG describes other segments")


def _prove_frames(
    written: Dataset,
    expected: dict[tuple[int, SliceKey], SegmentationFrame],
    part: Part,
) -> None:
    segments = range(1, part.last - part.first + 2)
    is_label_map = part.form is SegmentationForm.LABELMAP
    seen: set[tuple[int, SliceKey]] = set()
    for index, values in enumerate(_pixels(written)):
        key = _key(written, index)
        here = segments if is_label_map else [_segment(written, index)]
        drawn = 0
        for number in here:
            mask = values == (number if is_label_map else 1)
            drawn += int(np.count_nonzero(mask))
            _prove_mask(mask, expected.get((number, key)), _place(written, index), number)
            if (number, key) in seen:
                raise ProofFailed(f"re-encoded SEG has segment {number} twice on a slice")
            seen.add((number, key))
        if drawn != int(np.count_nonzero(values)):
            raise ProofFailed("re-encoded SEG has values that no segment has")
    if not expected.keys() <= seen:
        raise ProofFailed(f"re-encoded SEG lacks {len(expected.keys() - seen)} frames")


def _pixels(written: Dataset) -> Iterator[NDArray[np.uint8]]:
    if int(written.BitsAllocated) == 1:
        return iter(_unpacked(written))
    return iter_pixels(written, raw=True)


def _unpacked(written: Dataset) -> Iterator[NDArray[np.uint8]]:
    rows, columns = int(written.Rows), int(written.Columns)
    stored = np.frombuffer(written.PixelData, dtype=np.uint8)
    for index in range(int(written.NumberOfFrames)):
        first = index * rows * columns
        part = stored[first // 8 : -(-(first + rows * columns) // 8)]
        bits = np.unpackbits(part, bitorder="little")[first % 8 :][: rows * columns]
        yield bits.reshape(rows, columns)


def _prove_mask(
    mask: NDArray[np.bool_],
    frame: SegmentationFrame | None,
    position: NDArray[np.float64],
    number: int,
) -> None:
    if frame is None:
        if mask.any():
            raise ProofFailed(f"re-encoded segment {number} has voxels on another slice")
        return
    if int(np.count_nonzero(mask != frame.mask)):
        raise ProofFailed(f"re-encoded segment {number} differs from the kept one")
    off = float(np.abs(position - frame.plane.position).max())
    if off > PLACE_TOLERANCE * min(frame.plane.spacing_mm):
        raise ProofFailed(f"re-encoded segment {number} lies {off:.3f} mm off its slice")


def _segment(written: Dataset, index: int) -> int:
    group = functional_group(written, index, "SegmentIdentificationSequence")
    return int(group.ReferencedSegmentNumber)


def _place(written: Dataset, index: int) -> NDArray[np.float64]:
    place = functional_group(written, index, "PlanePositionSequence").ImagePositionPatient
    return np.asarray([float(value) for value in place])


def _key(written: Dataset, index: int) -> SliceKey:
    image = functional_group(written, index, "DerivationImageSequence").SourceImageSequence[0]
    number = image.get("ReferencedFrameNumber")
    return str(image.ReferencedSOPInstanceUID), int(number) if number is not None else None
