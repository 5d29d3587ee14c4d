"""The images under a label map, and where each of its slices lies in the patient.

Coordinates are LPS millimetres (PS3.3 C.7.6.2.1.1). The headers are trusted as they are: a tilted
or gapped series keeps the position that each of its images states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SourcePlane:
    """One slice: centre of its first voxel, unit steps along a row and down a column, spacing.

    `frame_number` is 1-based in an enhanced image and None in a classic one.
    """

    sop_instance_uid: str
    frame_number: int | None
    position: Vector
    row_direction: Vector
    column_direction: Vector
    spacing_mm: tuple[float, float]

    def corners(self, rows: int, columns: int) -> Vector:
        """Give the centres of the first, the last-in-row and the last-in-column voxel, (3, 3)."""
        along_row = self.row_direction * self.spacing_mm[1] * (columns - 1)
        down_column = self.column_direction * self.spacing_mm[0] * (rows - 1)
        return np.stack([self.position, self.position + along_row, self.position + down_column])


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """Headers (without pixels) of the series that was analysed.

    Classic: one header a slice, in the order of the label map, `frame_numbers` empty.
    Enhanced: the one header, and the 1-based frame number of each slice of the label map.
    A projection (X-ray) is one header, and has no place in the patient.
    """

    headers: tuple[Dataset, ...]
    frame_numbers: tuple[int, ...] = ()
    is_projection: bool = False

    def __post_init__(self) -> None:
        if not self.headers:
            raise ValueError("a source series needs at least one header")
        if self.is_projection and len(self.headers) != 1:
            raise ValueError("a projection is one image")
        if self.frame_numbers and len(self.headers) != 1:
            raise ValueError("frame numbers belong to one enhanced image")

    @property
    def first(self) -> Dataset:
        """The header that stands for patient, study and series."""
        return self.headers[0]

    @property
    def is_multiframe(self) -> bool:
        """Whether the slices are frames of one enhanced image."""
        return bool(self.frame_numbers)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        slices = len(self.frame_numbers) or len(self.headers)
        return slices, int(self.first.Rows), int(self.first.Columns)

    def planes(self) -> tuple[SourcePlane, ...]:
        """Give the place of each slice; raises `Refused` (no_geometry) where it is not stated."""
        try:
            if self.is_multiframe:
                return tuple(_frame_plane(self.first, number) for number in self.frame_numbers)
            return tuple(_image_plane(header) for header in self.headers)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise Refused(
                RefusalCode.NO_GEOMETRY, "an image states no position, orientation or spacing"
            ) from error


def plane_of(
    uid: str, number: int | None, position: Any, orientation: Any, spacing: Any
) -> SourcePlane:
    """Make a plane from Image Position, Image Orientation (Patient) and Pixel Spacing."""
    cosines = np.asarray([float(cosine) for cosine in orientation]).reshape(2, 3)
    rows_mm, columns_mm = (float(value) for value in spacing)
    place = np.asarray([float(value) for value in position]).reshape(3)
    return SourcePlane(uid, number, place, cosines[0], cosines[1], (rows_mm, columns_mm))


def functional_group(image: Dataset, index: int, keyword: str) -> Dataset:
    """Give one functional group macro of frame `index` (0-based): its own, else the shared one.

    Raises AttributeError or IndexError when neither holds it (PS3.3 C.7.6.16).
    """
    frames = image.get("PerFrameFunctionalGroupsSequence")
    group = frames[index] if frames else Dataset()
    if keyword not in group:
        group = image.SharedFunctionalGroupsSequence[0]
    item: Dataset = getattr(group, keyword)[0]
    return item


def _image_plane(header: Dataset) -> SourcePlane:
    return plane_of(
        str(header.SOPInstanceUID),
        None,
        header.ImagePositionPatient,
        header.ImageOrientationPatient,
        header.PixelSpacing,
    )


def _frame_plane(header: Dataset, number: int) -> SourcePlane:
    group = partial(functional_group, header, number - 1)
    return plane_of(
        str(header.SOPInstanceUID),
        number,
        group("PlanePositionSequence").ImagePositionPatient,
        group("PlaneOrientationSequence").ImageOrientationPatient,
        group("PixelMeasuresSequence").PixelSpacing,
    )
