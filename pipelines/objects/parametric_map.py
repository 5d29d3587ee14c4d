"""Parametric Map (PS3.3 A.75) of a heat map: its values as numbers, for those who compute on them.

On the grid of the source images, as float from 0 to 1. Volumes only: the object lies in a frame of
reference, and an X-ray has none. Viewers that draw none have the Secondary Captures of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.errors import ProofFailed
from pipelines.heat_map import HeatMap
from pipelines.objects.codes import ONE, VISUAL_EXPLANATION, coded
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.proof import PLACE_TOLERANCE, differing_attribute, readable
from pipelines.objects.result_header import long_string, mark_result
from pipelines.objects.source_header import sanitised, taken_over
from pipelines.objects.station import MANUFACTURER
from pipelines.series_volume import SeriesVolume

MIDDLE, WHOLE = 0.5, 1.0
LUT_LABEL = "SHARE"


@dataclass(frozen=True, eq=False)
class MapRequest:
    """A heat map and the volume that it lies on; `number` is the Instance Number."""

    volume: SeriesVolume
    heat: HeatMap
    identity: ResultIdentity
    dimension_organization_uid: str
    number: int
    origin: Origin


def build_parametric_map(request: MapRequest) -> Dataset:
    """Build the object; the same request gives the same dataset, byte for byte.

    Raises ValueError for a projection, and `Refused` (no_geometry) when the source does not say
    where it lies.
    """
    volume, heat = request.volume, request.heat
    if volume.is_projection:
        raise ValueError("a projection has no frame of reference")
    made: Dataset = hd.pm.ParametricMap(
        source_images=sanitised(volume.source, volume.spacing_mm[0]),
        pixel_array=heat.values.astype(np.float32),
        series_instance_uid=request.identity.series_instance_uid,
        series_number=request.identity.series_number,
        sop_instance_uid=request.identity.sop_instance_uid,
        instance_number=request.number,
        manufacturer=MANUFACTURER,
        # Replaced by `mark_result`, but asked for by the constructor.
        manufacturer_model_name=MANUFACTURER,
        software_versions=MANUFACTURER,
        device_serial_number=MANUFACTURER,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping()],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=MIDDLE, window_width=WHOLE)],
        content_label="HEAT_MAP",
        content_description=long_string(f"{heat.method} of {heat.label}, not reviewed"),
        # Type 2, but left out by the library unless it is given.
        content_creator_name=f"{MANUFACTURER}^",
        content_qualification="RESEARCH",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    _replace_generated_uids(made, request.dimension_organization_uid)
    _point_to_source_frames(made, volume)
    _name_body_part(made, volume.source.first)
    mark_result(made, volume.source, request.identity, request.origin)
    made.DerivationDescription = f"{heat.method} of {heat.label} {heat.means}"[:1024]
    return made


def prove_parametric_map(path: Path, request: MapRequest) -> None:
    """Prove the written object equal to the heat map, frame by frame on the planes of its source.

    Frames are placed by their own tags, and decoded without the library. Raises `ProofFailed`.
    """
    volume = request.volume
    with readable("Parametric Map"):
        found = dcmread(path)
        keyword = differing_attribute(found, volume.source.first)
        if keyword:
            raise ProofFailed(f"Parametric Map has another {keyword} than the source")
        if found.FrameOfReferenceUID != volume.source.first.FrameOfReferenceUID:
            raise ProofFailed("Parametric Map has another frame of reference than the source")
        frames = decoded_frames(found)
        _prove_frames(found, frames, request)


def decoded_frames(found: Dataset) -> NDArray[np.float32]:
    """The values [frame, row, column] of Float Pixel Data (7FE0,0008)."""
    shape = int(found.NumberOfFrames), int(found.Rows), int(found.Columns)
    return np.frombuffer(found.FloatPixelData, dtype="<f4").reshape(shape)


def _prove_frames(found: Dataset, frames: NDArray[np.float32], request: MapRequest) -> None:
    planes = request.volume.source.planes()
    if len(frames) != len(planes):
        raise ProofFailed(f"Parametric Map has {len(frames)} frames, not {len(planes)}")
    shared = found.SharedFunctionalGroupsSequence[0]
    orientation = np.asarray(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=np.float64
    )
    first = planes[0]
    expected = np.concatenate([first.row_direction, first.column_direction])
    if np.abs(orientation - expected).max() > 1e-3:
        raise ProofFailed("Parametric Map is oriented otherwise than its source")
    positions = np.stack([plane.position for plane in planes])
    used: set[int] = set()
    for frame, group in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        stated = np.asarray(group.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
        away = np.linalg.norm(positions - stated, axis=1)
        index = int(away.argmin())
        if away[index] > PLACE_TOLERANCE * min(first.spacing_mm) or index in used:
            raise ProofFailed("a frame of the Parametric Map lies on no slice of its source")
        used.add(index)
        if not np.array_equal(frame, request.heat.values[index].astype(np.float32)):
            raise ProofFailed(f"Parametric Map differs from the heat map on slice {index + 1}")


def _mapping() -> Any:
    """Stored values are the values: shares of the map's own peak."""
    return hd.pm.RealWorldValueMapping(
        lut_label=LUT_LABEL,
        lut_explanation="What the answer hangs on, as a share of the peak",
        unit=coded(ONE),
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=coded(VISUAL_EXPLANATION),
    )


def _name_body_part(made: Dataset, header: Dataset) -> None:
    for keyword in ("BodyPartExamined", "Laterality"):
        element = taken_over(header, keyword)
        if element is not None and not element.is_empty:
            made.add(element)
    if "BodyPartExamined" not in made and "Laterality" not in made:
        made.Laterality = ""  # Type 2C: whether a part is one of a pair is unknown with the part


def _replace_generated_uids(made: Dataset, uid: str) -> None:
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid


def _point_to_source_frames(made: Dataset, volume: SeriesVolume) -> None:
    """Turn slice numbers of the map into frame numbers of the enhanced source image."""
    if not volume.source.is_multiframe:
        return
    images = {
        id(image): image
        for frame in made.PerFrameFunctionalGroupsSequence
        for image in frame.DerivationImageSequence[0].SourceImageSequence
    }
    for image in images.values():
        number = int(image.ReferencedFrameNumber)
        image.ReferencedFrameNumber = volume.source.frame_numbers[number - 1]
