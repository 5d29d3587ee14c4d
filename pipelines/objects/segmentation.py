"""SEG (PS3.3 A.51) of a label map: on the source grid, one instance for its series.

BINARY, because archives still refuse LABELMAP at negotiation; the source grid, because web viewers
draw no other. Where Columns is no multiple of 8, rows or even frames of a BINARY SEG start within a
byte, and archives that serve single frames (as web viewers ask for them) cannot cut them out, or
refuse to: such a SEG is FRACTIONAL with the values 0 and 1 only, one byte a pixel, drawn as if it
were BINARY.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.labels import Labels, OverlappingLabels, mask_of
from pipelines.objects.codes import coded
from pipelines.objects.description import SegmentDescription
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.result_header import code_item, long_string, mark_result
from pipelines.objects.source_header import sanitised, taken_over
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.station import MANUFACTURER
from storage.records import AlgorithmIdentity

_CONTENT_DESCRIPTION = "AI-generated, not reviewed by a physician"


@dataclass(frozen=True, slots=True)
class SegmentationRequest:
    """Everything that a SEG is made of.

    `label_map` is [slice, row, column], unsigned integers or labels that overlap, on the grid of
    `source` and in its slice order; values that no structure names are background. `structures`
    come from `description.numbered`. `spacing_between_slices_mm` is measured along the normal.
    """

    source: SourceSeries
    label_map: Labels
    structures: tuple[SegmentDescription, ...]
    spacing_between_slices_mm: float
    identity: ResultIdentity
    dimension_organization_uid: str
    origin: Origin

    def __post_init__(self) -> None:
        if self.label_map.shape != self.source.shape:
            raise ValueError(
                f"label map {self.label_map.shape} is not on the source grid {self.source.shape}"
            )
        if not isinstance(self.label_map, OverlappingLabels):
            _require_unsigned(self.label_map)
        numbers = [structure.segment_number for structure in self.structures]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"segment numbers are {numbers}, not 1..N")


def _require_unsigned(label_map: NDArray[Any]) -> None:
    if not np.issubdtype(label_map.dtype, np.unsignedinteger):
        raise ValueError(f"label map has type {label_map.dtype}, not unsigned integers")


def build_segmentation(request: SegmentationRequest) -> Dataset:
    """Build the SEG; the same request gives the same dataset, byte for byte.

    Raises ValueError when a structure has no voxel, and `Refused` (no_geometry) when the source
    does not say where it lies.
    """
    headers = sanitised(request.source, request.spacing_between_slices_mm)
    segmentation = _encoded(request, headers)
    _replace_generated_uids(segmentation, request)
    _point_to_source_frames(segmentation, request.source)
    _name_body_part(segmentation, request.source.first)
    mark_result(segmentation, request.source, request.identity, request.origin)
    return segmentation


def segmentation_type(columns: int) -> str:
    """Give BINARY when every row, and so every frame, fills whole bytes, else FRACTIONAL."""
    return "FRACTIONAL" if columns % 8 else "BINARY"


def segment_numbers(
    label_map: NDArray[Any], structures: Sequence[SegmentDescription]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Give the label map with segment numbers in place of label values, 0 elsewhere."""
    highest = max(int(label_map.max(initial=0)), *(item.label_value for item in structures))
    table = np.zeros(highest + 1, dtype=np.uint8 if len(structures) < 256 else np.uint16)
    for structure in structures:
        table[structure.label_value] = structure.segment_number
    numbered: NDArray[np.uint8] | NDArray[np.uint16] = np.empty(label_map.shape, table.dtype)
    voxels = np.zeros(len(structures) + 1, dtype=np.int64)
    # Slice by slice: counting makes a copy of eight bytes a voxel.
    for index, labels in enumerate(label_map):
        numbered[index] = table[labels]
        voxels += np.bincount(numbered[index].ravel(), minlength=len(voxels))
    empty = [item.label_value for item in structures if not voxels[item.segment_number]]
    if empty:
        raise ValueError(f"no voxel has the label values {empty}")
    return numbered


def stacked_segments(
    labels: OverlappingLabels, structures: Sequence[SegmentDescription]
) -> NDArray[np.uint8]:
    """Give one mask a structure [slice, row, column, structure], as segments that overlap."""
    stacked = np.empty((*labels.shape, len(structures)), dtype=np.uint8)
    for index, structure in enumerate(structures):
        stacked[..., index] = mask_of(labels, structure.label_value)
    empty = [
        item.label_value for index, item in enumerate(structures) if not stacked[..., index].any()
    ]
    if empty:
        raise ValueError(f"no voxel has the label values {empty}")
    return stacked


def _pixels(labels: Labels, structures: Sequence[SegmentDescription]) -> NDArray[Any]:
    if isinstance(labels, OverlappingLabels):
        return stacked_segments(labels, structures)
    return segment_numbers(labels, structures)


def _encoded(request: SegmentationRequest, headers: list[Dataset]) -> Dataset:
    identity, algorithm = request.identity, request.origin.algorithm
    segmentation: Dataset = hd.seg.Segmentation(
        source_images=headers,
        pixel_array=_pixels(request.label_map, request.structures),
        segmentation_type=segmentation_type(request.source.shape[2]),
        fractional_type="OCCUPANCY",
        max_fractional_value=1,
        segment_descriptions=[_described(item, algorithm) for item in request.structures],
        series_instance_uid=identity.series_instance_uid,
        series_number=identity.series_number,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        # Replaced by `mark_result`, but asked for by the constructor.
        manufacturer_model_name=MANUFACTURER,
        software_versions=MANUFACTURER,
        device_serial_number=MANUFACTURER,
        content_label="SEGMENTATION",
        content_description=_CONTENT_DESCRIPTION,
        # Type 2, but left out by the library unless it is given.
        content_creator_name=f"{MANUFACTURER}^",
        content_qualification="RESEARCH",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
    )
    return segmentation


def _described(structure: SegmentDescription, algorithm: AlgorithmIdentity) -> Dataset:
    region = structure.anatomic_region
    described: Dataset = hd.seg.SegmentDescription(
        segment_number=structure.segment_number,
        segment_label=long_string(structure.label),
        segmented_property_category=coded(structure.category),
        segmented_property_type=coded(structure.property_type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=long_string(algorithm.name),
            version=long_string(algorithm.version),
            family=coded(algorithm.family),
            source=long_string(algorithm.manufacturer),
        ),
        tracking_id=structure.tracking_identifier,
        tracking_uid=structure.tracking_uid,
        anatomic_regions=[coded(region)] if region else None,
        display_color=hd.color.CIELabColor.from_rgb(*structure.color_rgb),
    )
    if structure.type_modifier:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            code_item(structure.type_modifier)
        ]
    return described


def _replace_generated_uids(segmentation: Dataset, request: SegmentationRequest) -> None:
    uid = request.dimension_organization_uid
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in segmentation.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid


def _point_to_source_frames(segmentation: Dataset, source: SourceSeries) -> None:
    """Turn slice numbers of the label map into frame numbers of the enhanced source image."""
    if not source.is_multiframe:
        return
    # Frames of several segments on one slice share their item: each is changed once.
    images = {
        id(image): image
        for frame in segmentation.PerFrameFunctionalGroupsSequence
        for image in frame.DerivationImageSequence[0].SourceImageSequence
    }
    for image in images.values():
        image.ReferencedFrameNumber = source.frame_numbers[int(image.ReferencedFrameNumber) - 1]


def _name_body_part(segmentation: Dataset, header: Dataset) -> None:
    for keyword in ("BodyPartExamined", "Laterality"):
        element = taken_over(header, keyword)
        if element is not None and not element.is_empty:
            segmentation.add(element)
