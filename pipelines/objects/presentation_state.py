"""Outlines of the segments as Grayscale Softcopy Presentation State (PS3.3 A.33.1).

For the viewers that draw one, and no segmentation: on each key image one polyline or more a
segment, on a graphic layer of its own with the colour that the SEG recommends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from pipelines.objects.decoded_segmentation import DecodedSegmentation, SegmentationFrame
from pipelines.objects.grey_scale import GreyScale, grey_scale
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.image_references import image_references, referenced_headers
from pipelines.objects.key_images import frames_by_slice
from pipelines.objects.outlines import outlines, pieces
from pipelines.objects.result_header import long_string, mark_result
from pipelines.objects.secondary_capture import take_over_body_part
from pipelines.objects.station import MANUFACTURER
from pipelines.series_volume import SeriesVolume

NOTE_LAYER = "AI_NOTE"
_LABEL = "AI_OUTLINES"
_CS_LENGTH = 16
_MOST_LABELS = 24
_LINE = 0.035
_WHITE = 65535
_GREY_VALUE = "GraphicLayerRecommendedDisplayGrayscaleValue"
_OF_ANOTHER_IOD = ("ContentDate", "ContentTime")


@dataclass(frozen=True)
class PresentationRequest:
    """The slices (0-based) of a volume to be shown, and the SEG as it was written and proved."""

    volume: SeriesVolume
    segmentation: DecodedSegmentation
    slices: tuple[int, ...]
    identity: ResultIdentity
    origin: Origin

    @cached_property
    def frames(self) -> Mapping[int, Sequence[SegmentationFrame]]:
        """The frames to be outlined, by slice."""
        placed = frames_by_slice(self.volume, self.segmentation)
        return {index: placed.get(index, ()) for index in self.slices}

    @cached_property
    def images(self) -> list[Dataset]:
        """What the library asks of the images that hold the slices."""
        images = referenced_headers(self.volume.source, self.slices)
        for image in images:
            image.SamplesPerPixel = 1
        return images

    @cached_property
    def segments(self) -> Mapping[int, Dataset]:
        """The items of the Segment Sequence that are seen on the slices, by number."""
        seen = {frame.segment_number for frames in self.frames.values() for frame in frames}
        described = self.segmentation.dataset.SegmentSequence
        return {int(item.SegmentNumber): item for item in described if item.SegmentNumber in seen}


def build_presentation_state(request: PresentationRequest) -> Dataset:
    """Build the object; the same request gives the same dataset, byte for byte.

    Raises:
        NotGrey: the images cannot be shown by a grayscale presentation state.
    """
    grey = grey_scale(request.volume, request.slices)
    layers = {number: _layer(item, number) for number, item in request.segments.items()}
    note = hd.pr.GraphicLayer(NOTE_LAYER, max(layers) + 1, "AI result, not reviewed")
    setattr(note, _GREY_VALUE, _WHITE)
    state: Dataset = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=request.images,
        series_instance_uid=request.identity.series_instance_uid,
        series_number=request.identity.series_number,
        sop_instance_uid=request.identity.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=MANUFACTURER,
        device_serial_number=MANUFACTURER,
        content_label=_LABEL,
        content_description=long_string(f"Not reviewed: {request.identity.series_description}"),
        graphic_layers=[*layers.values(), note],
        graphic_annotations=[*_annotations(request, layers), _note(request, note)],
        modality_lut_transformation=hd.ModalityLUTTransformation(0.0, 1.0, "US"),
        voi_lut_transformations=[hd.pr.SoftcopyVOILUTTransformation(0.0, 1.0)],
    )
    mark_result(state, request.volume.source, request.identity, request.origin)
    take_over_body_part(state, request.volume.source)
    _set_creation(state)
    _set_references(state, request)
    _set_grey_scale(state, request, grey)
    return state


def layer_name(number: int, label: str) -> str:
    """Give the name of a segment's layer: a Code String, its own by the number."""
    plain = re.sub(r"[^A-Z0-9]+", "_", label.upper()).strip("_")
    return f"S{number}_{plain}"[:_CS_LENGTH].rstrip("_")


def _layer(segment: Dataset, number: int) -> Dataset:
    label = str(segment.SegmentLabel)
    layer: Dataset = hd.pr.GraphicLayer(layer_name(number, label), number, long_string(label))
    layer.GraphicLayerRecommendedDisplayCIELabValue = segment.RecommendedDisplayCIELabValue
    setattr(layer, _GREY_VALUE, _WHITE)
    return layer


def _annotations(request: PresentationRequest, layers: Mapping[int, Dataset]) -> Iterator[Dataset]:
    for index, frames in request.frames.items():
        ordered = sorted(frames, key=lambda frame: frame.segment_number)
        for place, frame in enumerate(ordered):
            item = request.segments[frame.segment_number]
            label = [_text(str(item.SegmentLabel), place)] if place < _MOST_LABELS else None
            annotation = hd.pr.GraphicAnnotation(
                referenced_images=request.images[:1],
                graphic_layer=layers[frame.segment_number],
                graphic_objects=list(_polylines(frame, item)),
                text_objects=label,
            )
            annotation.ReferencedImageSequence = image_references(request.volume.source, [index])
            yield annotation


def _polylines(frame: SegmentationFrame, segment: Dataset) -> Iterator[Dataset]:
    for outline in outlines(frame.mask):
        for points in pieces(outline):
            yield hd.pr.GraphicObject(
                graphic_type="POLYLINE",
                graphic_data=np.asarray(points),
                units="PIXEL",
                tracking_id=str(segment.TrackingID),
                tracking_uid=str(segment.TrackingUID),
            )


def _text(words: str, line: int) -> Dataset:
    """A line of text from the upper left corner of the displayed area; -1 is the lowest."""
    top = 1 - 1.5 * _LINE if line < 0 else 0.02 + line * _LINE
    text: Dataset = hd.pr.TextObject(
        words,
        units="DISPLAY",
        bounding_box=(0.01, round(top, 4), 0.6, round(top + _LINE, 4)),
        text_justification="LEFT",
    )
    return text


def _note(request: PresentationRequest, layer: Dataset) -> Dataset:
    algorithm = request.origin.algorithm
    words = f"AI, not reviewed: {algorithm.name} {algorithm.version}"
    note: Dataset = hd.pr.GraphicAnnotation(
        referenced_images=request.images[:1], graphic_layer=layer, text_objects=[_text(words, -1)]
    )
    note.ReferencedImageSequence = image_references(request.volume.source, request.slices)
    return note


def _set_creation(state: Dataset) -> None:
    """Say when it was made: the time of the job, not of the clock."""
    state.PresentationCreationDate = state.ContentDate
    state.PresentationCreationTime = state.ContentTime
    for keyword in _OF_ANOTHER_IOD:
        delattr(state, keyword)
    state.ContentCreatorName = ""


def _set_references(state: Dataset, request: PresentationRequest) -> None:
    """Name the frames, and the pixels' shape, which the library does not."""
    source = request.volume.source
    (series,) = state.ReferencedSeriesSequence
    series.ReferencedImageSequence = image_references(source, request.slices)
    (area,) = state.DisplayedAreaSelectionSequence
    # It is for tiled images alone (PS3.3 C.10.4).
    del area.PixelOriginInterpretation
    del area.PresentationPixelAspectRatio
    spacing = source.planes()[0].spacing_mm
    area.PresentationPixelSpacing = [format_number_as_ds(float(value)) for value in spacing]


def _set_grey_scale(state: Dataset, request: PresentationRequest, grey: GreyScale) -> None:
    if grey.rescale is None:
        del state.RescaleSlope, state.RescaleIntercept, state.RescaleType
    else:
        state.RescaleSlope = format_number_as_ds(grey.rescale.slope)
        state.RescaleIntercept = format_number_as_ds(grey.rescale.intercept)
        state.RescaleType = long_string(grey.rescale.kind)
    state.SoftcopyVOILUTSequence = list(_windows(request, grey))
    state.PresentationLUTShape = "INVERSE" if grey.is_inverse else "IDENTITY"


def _windows(request: PresentationRequest, grey: GreyScale) -> Iterator[Dataset]:
    """One item for each window, with the images that it is for where there are several."""
    shown = list(zip(request.slices, grey.windows, strict=True))
    for window in dict.fromkeys(grey.windows):
        item = hd.pr.SoftcopyVOILUTTransformation(
            window.centre, window.width, voi_lut_function=window.function
        )
        indices = [index for index, its in shown if its == window]
        if len(indices) < len(shown):
            item.ReferencedImageSequence = image_references(request.volume.source, indices)
        yield item
