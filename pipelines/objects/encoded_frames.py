"""Frames of a SEG in another form: the same masks, packed, as bytes or as one label map a slice.

Every frame keeps the functional groups of the frame that it was made from, so that its place is
the one that was proved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import NotEncodable
from pipelines.objects.decoded_segmentation import DecodedSegmentation, SegmentationFrame

SliceKey = tuple[str, int | None]
"""SOP Instance UID and, in an enhanced image, frame number of a source slice."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class FramePlace:
    """A slice that a frame may lie on, and the functional groups that say so.

    `groups` is one item of the Per-Frame Functional Groups without segment and dimension index.
    """

    key: SliceKey
    position: tuple[float, ...]
    groups: Dataset


@dataclass(frozen=True, slots=True, eq=False)
class NewFrame:
    """A frame to write: `segment_number` None in a label map, which has all in one."""

    place: FramePlace
    segment_number: int | None
    sources: tuple[SegmentationFrame, ...]


def slice_key(frame: SegmentationFrame) -> SliceKey:
    """Name the source slice that a frame was drawn on."""
    return frame.plane.sop_instance_uid, frame.plane.frame_number


def places_of(decoded: DecodedSegmentation) -> dict[SliceKey, FramePlace]:
    """Give every slice that has a frame, in the order of the SEG's frames."""
    places: dict[SliceKey, FramePlace] = {}
    for frame in decoded.frames:
        if slice_key(frame) not in places:
            item = decoded.dataset.PerFrameFunctionalGroupsSequence[frame.number - 1]
            places[slice_key(frame)] = FramePlace(
                slice_key(frame), tuple(map(float, frame.plane.position)), _without_segment(item)
            )
    return places


def masks_by_segment(
    frames: Iterable[SegmentationFrame], places: Sequence[FramePlace], segments: Sequence[int]
) -> list[NewFrame]:
    """One frame for each segment and place, segment by segment; empty ones have no source."""
    known = {(frame.segment_number, slice_key(frame)): frame for frame in frames}
    return [
        NewFrame(place, segment, tuple(filter(None, [known.get((segment, place.key))])))
        for segment in segments
        for place in places
    ]


def one_frame_a_slice(
    frames: Iterable[SegmentationFrame], places: Sequence[FramePlace], segments: Sequence[int]
) -> list[NewFrame]:
    """One frame for each place, with all its segments."""
    by_slice: dict[SliceKey, list[SegmentationFrame]] = {place.key: [] for place in places}
    for frame in frames:
        if frame.segment_number in segments:
            by_slice[slice_key(frame)].append(frame)
    return [NewFrame(place, None, tuple(by_slice[place.key])) for place in places]


def packed_bits(frames: Sequence[NewFrame], rows: int, columns: int) -> bytes:
    """Pixel data of a BINARY SEG: no padding between frames (PS3.5 8.1.1)."""
    # Eight frames fill whole bytes, whatever their size.
    groups = (frames[first : first + 8] for first in range(0, len(frames), 8))
    return b"".join(
        np.packbits([_mask(frame, rows, columns) for frame in group], bitorder="little").tobytes()
        for group in groups
    )


def fraction_bytes(
    frames: Sequence[NewFrame], rows: int, columns: int
) -> Iterator[NDArray[np.uint8]]:
    """Frames of a FRACTIONAL SEG whose largest value is 1."""
    yield from (_mask(frame, rows, columns).astype(np.uint8) for frame in frames)


def label_frames(
    frames: Sequence[NewFrame], rows: int, columns: int, first_segment: int, dtype: type
) -> Iterator[Pixels]:
    """Frames of a LABELMAP SEG; `first_segment` becomes 1. Raises `NotEncodable` on overlap."""
    for frame in frames:
        labels: Pixels = np.zeros((rows, columns), dtype=dtype)
        for source in frame.sources:
            mask = source.mask
            if labels[mask].any():
                raise NotEncodable("segments overlap, which a LABELMAP cannot tell")
            labels[mask] = source.segment_number - first_segment + 1
        yield labels


def _mask(frame: NewFrame, rows: int, columns: int) -> NDArray[np.bool_]:
    if frame.sources:
        return frame.sources[0].mask
    return np.zeros((rows, columns), dtype=np.bool_)


def _without_segment(item: Dataset) -> Dataset:
    groups = deepcopy(item)
    for keyword in ("SegmentIdentificationSequence", "FrameContentSequence"):
        if keyword in groups:
            delattr(groups, keyword)
    return groups
