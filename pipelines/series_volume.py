"""Reads one series of CT or MR images into a volume on its own grid, or refuses it.

Classic images are one file a slice; enhanced multi-frame images (PS3.3 A.36, A.38) are one
file with a functional group per frame. Headers are read and judged before pixels are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.criteria import attribute_values
from pipelines.errors import RefusalCode, Refused
from pipelines.geometry import FEWEST_SLICES, SlicePlane, VolumeGeometry, arrange
from pipelines.objects.source_series import SourceSeries, functional_group
from pipelines.pixel_values import (
    BROKEN_FILE,
    frame_values,
    read_file,
    refuse_blank,
    slice_values,
)

IMAGE_FLAVOR = 2  # value 3 of Image Type (0008,0008)


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """One series as a volume.

    `voxels` is float32 [slice, row, column] in modality units (HU for CT). `affine_lps` takes
    (slice, row, column, 1) to LPS mm. `headers` hold no pixels: one per slice in slice order,
    or the single header of an enhanced image with `frame_numbers` (from 1) in slice order.
    """

    voxels: NDArray[np.float32]
    geometry: VolumeGeometry
    source: SourceSeries

    @property
    def headers(self) -> tuple[Dataset, ...]:
        """The source headers."""
        return self.source.headers

    @property
    def frame_numbers(self) -> tuple[int, ...]:
        """Frame number of each slice of an enhanced image; () for classic images."""
        return self.source.frame_numbers

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """4x4, (slice, row, column, 1) to LPS mm."""
        return self.geometry.affine_lps

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between (slices, rows, columns)."""
        return self.geometry.spacing_mm

    @property
    def orientation(self) -> str:
        """`axial`, `coronal`, `sagittal` or `oblique`."""
        return self.geometry.plane

    @property
    def is_lossy(self) -> bool:
        """Whether any image was ever compressed with loss (0028,2110)."""
        return any(str(h.get("LossyImageCompression", "")) == "01" for h in self.headers)


def read_series(paths: Sequence[Path], *, fewest_slices: int = FEWEST_SLICES) -> SeriesVolume:
    """Read the files of one series, in any order.

    Raises `Refused` with the code and figures of the first gate that does not let it pass, and
    `InferenceFailed` when the disk does not give a file.
    """
    headers = [read_file(path, with_pixels=False) for path in paths]
    if not headers:
        raise Refused(RefusalCode.TOO_FEW_SLICES, "the series has no images")
    _refuse_non_images(headers)
    _refuse_mixtures(headers)
    if any("PerFrameFunctionalGroupsSequence" in header for header in headers):
        volume = _enhanced_volume(paths, headers, fewest_slices)
    else:
        volume = _classic_volume(paths, headers, fewest_slices)
    refuse_blank(volume.voxels)
    return volume


def _refuse_mixtures(headers: Sequence[Dataset]) -> None:
    series = {str(header.get("SeriesInstanceUID", "")) for header in headers}
    if len(series) > 1:
        raise Refused(RefusalCode.MIXED_SERIES, f"images of {len(series)} series")
    frames = {str(header.get("FrameOfReferenceUID") or "") for header in headers}
    if "" in frames:
        raise Refused(RefusalCode.NO_GEOMETRY, "FrameOfReferenceUID is missing")
    if len(frames) > 1:
        text = f"images of {len(frames)} frames of reference"
        raise Refused(RefusalCode.MIXED_FRAMES_OF_REFERENCE, text)


def _refuse_non_images(headers: Sequence[Dataset]) -> None:
    localizers = sum(_is_localizer(header) for header in headers)
    if localizers:
        text = f"{localizers} of {len(headers)} images are localizers"
        raise Refused(RefusalCode.LOCALIZER, text)
    if any(header.get("SamplesPerPixel") != 1 for header in headers):
        raise Refused(RefusalCode.NOT_GREYSCALE, "SamplesPerPixel is not 1")


def _is_localizer(header: Dataset) -> bool:
    image_type = header.get("ImageType") or ()
    return len(image_type) > IMAGE_FLAVOR and image_type[IMAGE_FLAVOR] == "LOCALIZER"


def _classic_volume(
    paths: Sequence[Path], headers: Sequence[Dataset], fewest_slices: int
) -> SeriesVolume:
    if any(attribute_values(header, "NumberOfFrames") not in ((), (1,)) for header in headers):
        text = "multi-frame images without functional groups have no place in space"
        raise Refused(RefusalCode.NOT_A_VOLUME, text)
    planes = [_plane(header, header, header, header) for header in headers]
    geometry = arrange(planes, fewest_slices=fewest_slices)
    voxels = np.empty((len(planes), planes[0].rows, planes[0].columns), dtype=np.float32)
    for number, index in enumerate(geometry.order):
        voxels[number] = slice_values(paths[index])
    source = SourceSeries(tuple(headers[index] for index in geometry.order))
    return SeriesVolume(voxels, geometry, source)


def _enhanced_volume(
    paths: Sequence[Path], headers: Sequence[Dataset], fewest_slices: int
) -> SeriesVolume:
    if len(headers) != 1:
        text = f"{len(headers)} images in one series, of which some are multi-frame"
        raise Refused(RefusalCode.NOT_A_VOLUME, text)
    header = headers[0]
    planes = [_frame_plane(header, index) for index in range(_frame_count(header))]
    geometry = arrange(planes, fewest_slices=fewest_slices)
    frame_numbers = tuple(index + 1 for index in geometry.order)
    voxels = frame_values(paths[0], frame_numbers)
    return SeriesVolume(voxels, geometry, SourceSeries((header,), frame_numbers))


def _frame_count(header: Dataset) -> int:
    groups = len(header.PerFrameFunctionalGroupsSequence)
    if attribute_values(header, "NumberOfFrames") != (groups,):
        text = f"NumberOfFrames is not the {groups} of the per-frame functional groups"
        raise Refused(RefusalCode.NO_GEOMETRY, text)
    return groups


def _frame_plane(header: Dataset, index: int) -> SlicePlane:
    try:
        position = functional_group(header, index, "PlanePositionSequence")
        orientation = functional_group(header, index, "PlaneOrientationSequence")
        measures = functional_group(header, index, "PixelMeasuresSequence")
    except (AttributeError, IndexError) as error:
        text = f"frame {index + 1} states no position, orientation or spacing"
        raise Refused(RefusalCode.NO_GEOMETRY, text) from error
    return _plane(header, position, orientation, measures)


def _plane(header: Dataset, place: Dataset, orientation: Dataset, measures: Dataset) -> SlicePlane:
    position = _numbers(place, "ImagePositionPatient", 3)
    cosines = _numbers(orientation, "ImageOrientationPatient", 6)
    spacing = _numbers(measures, "PixelSpacing", 2)
    rows, columns = (_numbers(header, keyword, 1)[0] for keyword in ("Rows", "Columns"))
    return SlicePlane(position, cosines, spacing, int(rows), int(columns))


def _numbers(header: Dataset, keyword: str, count: int) -> Any:
    try:
        value = header[keyword].value
        numbers = tuple(float(item) for item in ([value] if count == 1 else value))
    except BROKEN_FILE as error:
        raise Refused(RefusalCode.NO_GEOMETRY, f"{keyword} is missing or malformed") from error
    if len(numbers) != count:
        raise Refused(RefusalCode.NO_GEOMETRY, f"{keyword} has {len(numbers)} of {count} values")
    return numbers
