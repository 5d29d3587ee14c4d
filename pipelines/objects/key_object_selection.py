"""The key images of a result as Key Object Selection (PS3.3 A.35.4, PS3.16 TID 2010).

It refers to source images alone: every PACS has those, while SEG and presentation state go to some
in another form, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.objects.codes import OF_INTEREST, coded
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.image_references import (
    ChosenSlices,
    image_references,
    referenced_headers,
)
from pipelines.objects.observer import observing_device
from pipelines.objects.result_header import mark_result
from pipelines.objects.station import MANUFACTURER

_MOST_NAMES = 20


@dataclass(frozen=True)
class SelectionRequest:
    """Images, and the labels of what they show; the first one gives patient and study."""

    chosen: tuple[ChosenSlices, ...]
    shown: tuple[str, ...]
    identity: ResultIdentity
    origin: Origin


def build_key_object_selection(request: SelectionRequest) -> Dataset:
    """Build the object; the same request gives the same dataset, byte for byte."""
    images = [
        image for each in request.chosen for image in referenced_headers(each.source, each.slices)
    ]
    content = hd.ko.KeyObjectSelection(
        document_title=coded(OF_INTEREST),
        referenced_objects=images,
        observer_device_context=observing_device(request.origin),
        description=_description(request),
    )
    selection: Dataset = hd.ko.KeyObjectSelectionDocument(
        evidence=images,
        content=content,
        series_instance_uid=request.identity.series_instance_uid,
        series_number=request.identity.series_number,
        sop_instance_uid=request.identity.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    leave_references_unnamed(selection)
    _name_frames(selection, request)
    mark_result(selection, request.chosen[0].source, request.identity, request.origin)
    return selection


def leave_references_unnamed(document: Dataset) -> None:
    """Take away the purpose that the library gives to references: TID 2010 has none."""
    for item in document.ContentSequence:
        if "ReferencedSOPSequence" in item:
            del item.ConceptNameCodeSequence


def _name_frames(selection: Dataset, request: SelectionRequest) -> None:
    """Say which frames of an enhanced image are meant, which the library does not."""
    references = [
        item for each in request.chosen for item in image_references(each.source, each.slices)
    ]
    items = [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    for item, reference in zip(items, references, strict=True):
        item.ReferencedSOPSequence = [reference]


def _description(request: SelectionRequest) -> str:
    algorithm = request.origin.algorithm
    names = _enumerated(request.shown)
    return (
        f"AI result, not reviewed by a physician: images with what {algorithm.name} "
        f"{algorithm.version} found. {names}."
    )


def _enumerated(names: Sequence[str]) -> str:
    told = ", ".join(names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{told} and {more} more" if more > 0 else told
