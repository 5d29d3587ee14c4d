"""SEG in another encoding (PS3.3 A.51): made from the kept one alone, never from the model.

BINARY, FRACTIONAL with the values 0 and 1, or LABELMAP without an item for the background: the
value 0 is Pixel Padding Value (0028,0120) there, since viewers take the first item of the Segment
Sequence for the first structure and would shift every colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from pipelines.errors import NotEncodable
from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.encoded_frames import (
    FramePlace,
    NewFrame,
    SliceKey,
    fraction_bytes,
    label_frames,
    masks_by_segment,
    one_frame_a_slice,
    packed_bits,
)
from pipelines.objects.encoding import FRAME_SYNTAXES, Part, SegmentationForm
from pipelines.objects.result_header import long_string
from pipelines.objects.uids import encoded_uid

_ENCODERS = {
    RLELossless: "pydicom",
    JPEGLSLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
}
"""Which of several libraries compresses: always the same one, for the same bytes."""

_SEGMENT_POINTER = 0x0062000B


def encoded_segmentation(
    kept: DecodedSegmentation, part: Part, places: Mapping[SliceKey, FramePlace]
) -> Dataset:
    """Make the SEG of one part, in Explicit VR Little Endian, with UIDs of its own.

    `places` are the slices that may have frames. Without empty frames, only slices that the part
    has voxels on get one. Raises `NotEncodable` where a LABELMAP would have to overlap.
    """
    segments = range(part.first, part.last + 1)
    made = _without_frames(kept.dataset)
    _identify(made, part)
    made.SegmentSequence = _descriptions(kept.dataset, segments)
    ordered = _ordered(places, kept)
    frames = _frames(kept, part, ordered, segments)
    _write_pixels(made, part, frames)
    _write_groups(made, frames, ordered, part)
    return made


def compressed(segmentation: Dataset, transfer_syntax_uid: UID) -> Dataset:
    """Put the SEG into another transfer syntax, in place; its SOP Instance stays the same.

    Raises `NotEncodable` where the codec cannot: JPEG 2000 takes no frame below 32 x 32.
    """
    if transfer_syntax_uid in FRAME_SYNTAXES:
        try:
            segmentation.compress(
                transfer_syntax_uid,
                encoding_plugin=_ENCODERS[transfer_syntax_uid],
                generate_instance_uid=False,
            )
        except RuntimeError as error:
            size = f"{segmentation.Rows} x {segmentation.Columns}"
            raise NotEncodable(f"frames of {size} cannot be compressed so") from error
    segmentation.file_meta.TransferSyntaxUID = transfer_syntax_uid
    return segmentation


def _without_frames(dataset: Dataset) -> Dataset:
    """Copy all but the frames, which may be gigabytes."""
    kept = Dataset()
    skipped = ("PixelData", "PerFrameFunctionalGroupsSequence")
    for element in dataset:
        if element.keyword not in skipped:
            kept.add(deepcopy(element))
    kept.file_meta = deepcopy(dataset.file_meta)
    return kept


def _identify(made: Dataset, part: Part) -> None:
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        setattr(made, keyword, encoded_uid(str(made.get(keyword)), part.role))
    organization = made.DimensionOrganizationSequence[0]
    uid = encoded_uid(str(organization.DimensionOrganizationUID), part.role)
    organization.DimensionOrganizationUID = uid
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
    made.SOPClassUID = part.form.sop_class_uid
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    if not part.is_whole:
        made.SeriesNumber = int(made.SeriesNumber) * 1000 + part.first
        told = f" ({part.first}-{part.last} of {part.total})"
        made.SeriesDescription = long_string(str(made.SeriesDescription)[: 64 - len(told)] + told)


def _descriptions(kept: Dataset, segments: range) -> list[Dataset]:
    chosen = [deepcopy(item) for item in kept.SegmentSequence if item.SegmentNumber in segments]
    for item in chosen:
        item.SegmentNumber = int(item.SegmentNumber) - segments.start + 1
    return chosen


def _ordered(places: Mapping[SliceKey, FramePlace], kept: DecodedSegmentation) -> list[FramePlace]:
    """Sort the places along the normal, in the direction of the frames of the kept SEG."""
    first = kept.frames[0].plane
    normal = np.cross(first.row_direction, first.column_direction)
    heights = {key: float(np.dot(normal, place.position)) for key, place in places.items()}
    written = [
        heights[frame.plane.sop_instance_uid, frame.plane.frame_number]
        for frame in kept.frames
        if frame.segment_number == kept.frames[0].segment_number
    ]
    is_downwards = written[-1] < written[0]
    return sorted(places.values(), key=lambda place: heights[place.key], reverse=is_downwards)


def _frames(
    kept: DecodedSegmentation, part: Part, places: Sequence[FramePlace], segments: range
) -> list[NewFrame]:
    chosen = masks_by_segment if part.form is not SegmentationForm.LABELMAP else one_frame_a_slice
    frames = chosen(kept.frames, places, segments)
    return [frame for frame in frames if part.keeps_empty_frames or frame.sources]


def _write_pixels(made: Dataset, part: Part, frames: Sequence[NewFrame]) -> None:
    rows, columns = int(made.Rows), int(made.Columns)
    for keyword in ("MaximumFractionalValue", "SegmentationFractionalType"):
        if keyword in made:
            delattr(made, keyword)
    made.SegmentationType = part.form.value
    made.NumberOfFrames = len(frames)
    match part.form:
        case SegmentationForm.BINARY:
            _set_bits(made, 1)
            pixels = packed_bits(frames, rows, columns)
        case SegmentationForm.LABELMAP:
            dtype = np.uint8 if len(made.SegmentSequence) < 256 else np.uint16
            _set_bits(made, np.dtype(dtype).itemsize * 8)
            made.PixelPaddingValue = 0
            made.SegmentsOverlap = "NO"
            labels = label_frames(frames, rows, columns, part.first, dtype)
            pixels = b"".join(frame.tobytes() for frame in labels)
        case _:
            _set_bits(made, 8)
            made.MaximumFractionalValue, made.SegmentationFractionalType = 1, "OCCUPANCY"
            pixels = b"".join(frame.tobytes() for frame in fraction_bytes(frames, rows, columns))
    made.PixelData = pixels + b"\0" * (len(pixels) % 2)
    made["PixelData"].VR = "OW" if int(made.BitsAllocated) == 16 else "OB"


def _set_bits(made: Dataset, bits: int) -> None:
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit = bits - 1


def _write_groups(
    made: Dataset, frames: Sequence[NewFrame], places: Sequence[FramePlace], part: Part
) -> None:
    used = {frame.place.key for frame in frames}
    ranks = {key: rank for rank, key in enumerate((p.key for p in places if p.key in used), 1)}
    shared = made.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        del shared.SegmentIdentificationSequence
    if part.form is SegmentationForm.LABELMAP:
        made.DimensionIndexSequence = [
            item
            for item in made.DimensionIndexSequence
            if int(item.DimensionIndexPointer) != _SEGMENT_POINTER
        ]
    is_indexed = any(
        int(item.DimensionIndexPointer) == _SEGMENT_POINTER for item in made.DimensionIndexSequence
    )
    made.PerFrameFunctionalGroupsSequence = [
        _groups(frame, ranks[frame.place.key], part.first, is_indexed=is_indexed)
        for frame in frames
    ]


def _groups(frame: NewFrame, rank: int, first_segment: int, *, is_indexed: bool) -> Dataset:
    groups = Dataset()
    # One item for all frames of a slice: it is only written.
    groups.update(frame.place.groups)
    content = Dataset()
    content.DimensionIndexValues = [rank]
    if frame.segment_number is not None:
        identification = Dataset()
        number = frame.segment_number - first_segment + 1
        identification.ReferencedSegmentNumber = number
        groups.SegmentIdentificationSequence = [identification]
        content.DimensionIndexValues = [number, rank] if is_indexed else [rank]
    groups.FrameContentSequence = [content]
    return groups
