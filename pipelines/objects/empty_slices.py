"""Slices of the source without a voxel of any segment: where they lie, from the images themselves.

Only for destinations that want empty frames: the kept SEG has none to take the place from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.valuerep import DS

from pipelines.errors import NotEncodable
from pipelines.objects.encoded_frames import FramePlace, SliceKey
from pipelines.objects.source_series import functional_group

_SAME_PLACE_MM = 0.01


def with_empty_slices(
    segmentation: Dataset, places: Mapping[SliceKey, FramePlace], images: Sequence[Path]
) -> dict[SliceKey, FramePlace]:
    """Add the slices of the source images that have no frame.

    `images` are the files of the job; those that the SEG does not reference are left out, and so
    are frames at a place that is taken (another phase of an enhanced image). Raises
    `NotEncodable` where an image is not there any more.
    """
    complete = dict(places)
    template = next(iter(places.values()))
    for key, position in _source_slices(segmentation, images):
        if key in complete or _is_taken(position, complete):
            continue
        complete[key] = FramePlace(key, position, _moved(template.groups, key, position))
    return complete


def _source_slices(
    segmentation: Dataset, images: Sequence[Path]
) -> Iterator[tuple[SliceKey, tuple[float, ...]]]:
    wanted = {
        str(item.ReferencedSOPInstanceUID)
        for series in segmentation.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    for path in images:
        header = dcmread(path, stop_before_pixels=True)
        if str(header.SOPInstanceUID) in wanted:
            wanted.discard(str(header.SOPInstanceUID))
            yield from _slices_of(header)
    if wanted:
        raise NotEncodable(f"{len(wanted)} source images are gone, whose empty frames are wanted")


def _slices_of(header: Dataset) -> Iterator[tuple[SliceKey, tuple[float, ...]]]:
    uid = str(header.SOPInstanceUID)
    if "PerFrameFunctionalGroupsSequence" not in header:
        yield (uid, None), tuple(map(float, header.ImagePositionPatient))
        return
    for index in range(len(header.PerFrameFunctionalGroupsSequence)):
        place = functional_group(header, index, "PlanePositionSequence").ImagePositionPatient
        yield (uid, index + 1), tuple(map(float, place))


def _is_taken(position: tuple[float, ...], places: Mapping[SliceKey, FramePlace]) -> bool:
    return any(
        max(abs(a - b) for a, b in zip(position, place.position, strict=True)) < _SAME_PLACE_MM
        for place in places.values()
    )


def _moved(template: Dataset, key: SliceKey, position: tuple[float, ...]) -> Dataset:
    groups = deepcopy(template)
    groups.PlanePositionSequence[0].ImagePositionPatient = [
        DS(value, auto_format=True) for value in position
    ]
    image = groups.DerivationImageSequence[0].SourceImageSequence[0]
    image.ReferencedSOPInstanceUID, number = key
    if number is not None:
        image.ReferencedFrameNumber = number
    return groups
