"""Small MR and CT series made up for the tests, written as real files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SERIES = "2.25.2001"
Edit = Callable[[Dataset, int], None]


def write_series(
    folder: Path,
    stored: NDArray[Any],
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-20.0, -30.0, 10.0),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    modality: str = "MR",
    syntax: str = ExplicitVRLittleEndian,
    edit: Edit | None = None,
) -> list[Path]:
    """One file a slice of `stored` [slice, row, column] (int16 or uint16), along the normal."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pixels in enumerate(stored):
        image = _image(MRImageStorage if modality == "MR" else CTImageStorage, pixels, index)
        image.Modality = modality
        image.ImageOrientationPatient = list(orientation)
        image.ImagePositionPatient = _position(origin, orientation, index * spacing_mm[0])
        image.PixelSpacing = list(spacing_mm[1:])
        image.SliceThickness = spacing_mm[0]
        if edit is not None:
            edit(image, index)
        paths.append(_saved(image, folder / f"{index:03d}.dcm", syntax))
    return paths


def write_enhanced(
    path: Path,
    stored: NDArray[Any],
    *,
    slice_of_frame: Sequence[int],
    edit: Callable[[Dataset], None] | None = None,
) -> Path:
    """One enhanced MR file whose frame f shows slice `slice_of_frame[f]` of `stored`.

    The rescale slope of a frame is the slice's number plus 1: stored values differ by frame.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image = _image(EnhancedMRImageStorage, stored[list(slice_of_frame)], 0)
    image.Modality = "MR"
    image.NumberOfFrames = len(slice_of_frame)
    shared = _item(
        PlaneOrientationSequence=[_item(ImageOrientationPatient=list(AXIAL))],
        PixelMeasuresSequence=[_item(PixelSpacing=[1, 1], SliceThickness=2)],
    )
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[-20, -30, 10 + 2 * number])],
            PixelValueTransformationSequence=[
                _item(RescaleSlope=number + 1, RescaleIntercept=0, RescaleType="US")
            ],
        )
        for number in slice_of_frame
    ]
    if edit is not None:
        edit(image)
    return _saved(image, path, ExplicitVRLittleEndian)


def _position(origin: Sequence[float], orientation: Sequence[float], along: float) -> list[float]:
    normal = np.cross(orientation[:3], orientation[3:])
    return [round(float(value), 6) for value in np.asarray(origin) + along * normal]


def _image(sop_class: str, pixels: NDArray[Any], index: int) -> Dataset:
    image = _item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=sop_class,
        SOPInstanceUID=f"{SERIES}.{index + 1}",
        StudyInstanceUID="2.25.2000",
        SeriesInstanceUID=SERIES,
        FrameOfReferenceUID="2.25.2002",
        PatientName="Doe^Jane",
        PatientID="PID-1",
        StudyDate="20240115",
        StudyTime="0930",
        AccessionNumber="A-1",
        SeriesNumber=3,
        SeriesDescription="HippoCrop",
        InstanceNumber=index + 1,
        ImageType=["ORIGINAL", "PRIMARY", "M"],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=pixels.shape[-2],
        Columns=pixels.shape[-1],
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=int(pixels.dtype == np.int16),
    )
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    return image


def _saved(image: Dataset, path: Path, syntax: str) -> Path:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax != ExplicitVRLittleEndian:
        image.compress(syntax, generate_instance_uid=False)
    image.save_as(path, enforce_file_format=True)
    return path


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
