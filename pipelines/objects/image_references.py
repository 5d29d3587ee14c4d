"""References to slices of a source: to images, or to frames of an enhanced one (PS3.3 10.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pipelines.objects.source_header import bare_reference
from pipelines.objects.source_series import SourceSeries


@dataclass(frozen=True, slots=True)
class ChosenSlices:
    """Slices (0-based) of one source, at least one."""

    source: SourceSeries
    slices: tuple[int, ...]


def referenced_headers(source: SourceSeries, slices: Sequence[int]) -> list[Dataset]:
    """Give the images that hold these slices (0-based), each once, without any patient."""
    if source.is_multiframe:
        image = bare_reference(source.first)
        image.NumberOfFrames = int(source.first.get("NumberOfFrames") or 1)
        return [image]
    return [bare_reference(source.headers[index]) for index in slices]


def image_references(source: SourceSeries, slices: Sequence[int]) -> list[Dataset]:
    """Give items of the Image SOP Instance Reference Macro; frames where not all are meant."""
    references = []
    for header in referenced_headers(source, slices):
        item = Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        references.append(item)
    if source.is_multiframe:
        frames = sorted(source.frame_numbers[index] for index in slices)
        if len(frames) < int(source.first.get("NumberOfFrames") or 1):
            references[0].ReferencedFrameNumber = frames if len(frames) > 1 else frames[0]
    return references
