"""The gate before key images leave: they must name the images meant, and draw what the SEG has.

The written files are read with pydicom alone. Outlines are filled again and compared with the
frames of the written SEG, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.codes import OF_INTEREST
from pipelines.objects.decoded_segmentation import DecodedSegmentation, SegmentationFrame
from pipelines.objects.image_references import ChosenSlices
from pipelines.objects.outlines import Points, filled
from pipelines.objects.proof import differing_attribute, readable
from pipelines.objects.source_series import SourceSeries

_Place = tuple[str, int | None]
_Outlined = tuple[_Place, str]


def prove_key_object_selection(path: Path, chosen: Sequence[ChosenSlices]) -> None:
    """Prove that the document at `path` selects these slices, and no more.

    Raises `ProofFailed`.
    """
    with readable("KOS"):
        document = dcmread(path)
        _prove_header(document, chosen[0].source, "KOS")
        named = [place for item in document.ContentSequence for place in _named(item)]
        evidence = {
            str(item.ReferencedSOPInstanceUID)
            for study in document.CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        wanted = {place for each in chosen for place in _places(each.source, each.slices)}
        title = str(document.ConceptNameCodeSequence[0].CodeValue)
        if title != OF_INTEREST.value or evidence != {uid for uid, _ in wanted}:
            raise ProofFailed("KOS has another title or other evidence than it should")
        found = {place for each in chosen for place in _whole(named, each.source)}
        if found != wanted or len(set(named)) != len(named):
            raise ProofFailed("KOS selects other images than it should")


def prove_presentation_state(
    path: Path, source: SourceSeries, slices: Sequence[int], segmentation: DecodedSegmentation
) -> None:
    """Prove that the object at `path` outlines each segment of the SEG on these slices (0-based).

    Raises `ProofFailed`.
    """
    with readable("PR"):
        state = dcmread(path)
        _prove_header(state, source, "PR")
        wanted = _places(source, slices)
        (series,) = state.ReferencedSeriesSequence
        named = [place for item in series.ReferencedImageSequence for place in _place(item)]
        if (
            _whole(named, source) != wanted
            or series.SeriesInstanceUID != source.first.SeriesInstanceUID
        ):
            raise ProofFailed("PR refers to other images than it should")
        _prove_outlines(state, wanted, segmentation)


def _prove_outlines(state: Dataset, wanted: set[_Place], segmentation: DecodedSegmentation) -> None:
    described = segmentation.dataset.SegmentSequence
    tracked = {int(item.SegmentNumber): str(item.TrackingUID) for item in described}
    drawn = _drawn(state)
    for frame in segmentation.frames:
        key = _place_of(frame), tracked[frame.segment_number]
        if key[0] in wanted and frame.mask.any():
            lines = drawn.pop(key, [])
            if not np.array_equal(filled(lines, frame.mask.shape), frame.mask):
                raise ProofFailed(f"PR outlines segment {frame.segment_number} otherwise")
    if drawn:
        raise ProofFailed("PR outlines what the SEG does not have")


def _drawn(state: Dataset) -> dict[_Outlined, list[Points]]:
    """Give the polylines by image, or frame, and Tracking UID."""
    drawn: dict[_Outlined, list[Points]] = {}
    for annotation in state.GraphicAnnotationSequence:
        for line in annotation.get("GraphicObjectSequence") or []:
            points = np.asarray(line.GraphicData, dtype=np.float32).reshape(-1, 2)
            for image in annotation.ReferencedImageSequence:
                for place in _place(image):
                    drawn.setdefault((place, str(line.TrackingUID)), []).append(points)
    return drawn


def _prove_header(made: Dataset, source: SourceSeries, name: str) -> None:
    if made.StudyInstanceUID != source.first.StudyInstanceUID:
        raise ProofFailed(f"{name} has another StudyInstanceUID than the source")
    keyword = differing_attribute(made, source.first)
    if keyword:
        raise ProofFailed(f"{name} has another {keyword} than the source")


def _places(source: SourceSeries, slices: Sequence[int]) -> set[_Place]:
    if source.is_multiframe:
        uid = str(source.first.SOPInstanceUID)
        return {(uid, source.frame_numbers[index]) for index in slices}
    return {(str(source.headers[index].SOPInstanceUID), None) for index in slices}


def _whole(named: Sequence[_Place], source: SourceSeries) -> set[_Place]:
    """Give what is named, all frames of the source in place of the source without any."""
    if not source.is_multiframe:
        return set(named)
    own = str(source.first.SOPInstanceUID)
    frames = {(own, number) for number in source.frame_numbers}
    return {place for place in named if place != (own, None)} | (
        frames if (own, None) in named else set()
    )


def _named(item: Dataset) -> Iterator[_Place]:
    for reference in item.get("ReferencedSOPSequence") or []:
        yield from _place(reference)


def _place(reference: Dataset) -> Iterator[_Place]:
    uid = str(reference.ReferencedSOPInstanceUID)
    numbers = reference.get("ReferencedFrameNumber")
    if numbers is None:
        yield uid, None
    else:
        for number in [numbers] if isinstance(numbers, int) else numbers:
            yield uid, int(number)


def _place_of(frame: SegmentationFrame) -> _Place:
    return frame.plane.sop_instance_uid, frame.plane.frame_number
