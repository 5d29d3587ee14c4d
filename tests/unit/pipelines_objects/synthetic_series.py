"""Source series made up for the tests: headers as scanners write them, voxels where asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from pipelines.objects.source_series import SourceSeries

OBLIQUE = (0.96, 0.28, 0.0, -0.21, 0.72, -0.6614378277661477)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
STUDY = "2.25.1001"
SERIES = "2.25.1002"
FRAME_OF_REFERENCE = "2.25.1003"
STEP_MM = 2.5


def classic_series(
    shape: tuple[int, int, int] = (6, 24, 32),
    *,
    orientation: tuple[float, ...] = OBLIQUE,
    positions: list[NDArray[np.float64]] | None = None,
    edit: Callable[[Dataset, int], None] | None = None,
) -> SourceSeries:
    """One MR header a slice, 2.5 mm apart along the normal unless `positions` says otherwise."""
    slices, rows, columns = shape
    places = positions or regular_positions(slices, orientation)
    headers = []
    for index, place in enumerate(places):
        header = _mr_header(MRImageStorage, f"{SERIES}.{index + 1}", rows, columns)
        header.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
        header.ImageOrientationPatient = list(orientation)
        header.ImagePositionPatient = [round(float(value), 6) for value in place]
        header.PixelSpacing = [0.9, 0.8]
        header.SliceThickness = 2.0
        header.InstanceNumber = index + 1
        header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "GR", "NONE", ""
        header.MRAcquisitionType, header.EchoTime, header.EchoTrainLength = "3D", 3.1, 1
        if edit is not None:
            edit(header, index)
        headers.append(header)
    return SourceSeries(tuple(headers))


def enhanced_series(
    shape: tuple[int, int, int] = (6, 24, 32), *, per_frame: bool = False, reverse: bool = True
) -> SourceSeries:
    """One enhanced MR header; the frames are stored from the last slice to the first.

    With `per_frame`, orientation and measures stand in each frame, as many scanners write them.
    """
    slices, rows, columns = shape
    header = _mr_header(EnhancedMRImageStorage, f"{SERIES}.1", rows, columns)
    header.NumberOfFrames = slices
    places = regular_positions(slices, OBLIQUE)
    frame_numbers = tuple(range(slices, 0, -1) if reverse else range(1, slices + 1))
    frames = [Dataset() for _ in range(slices)]
    for place, number in zip(places, frame_numbers, strict=True):
        frame = frames[number - 1]
        frame.PlanePositionSequence = [_item(ImagePositionPatient=[float(v) for v in place])]
        if per_frame:
            frame.update(_frame_geometry())
    header.PerFrameFunctionalGroupsSequence = frames
    header.SharedFunctionalGroupsSequence = [Dataset() if per_frame else _frame_geometry()]
    return SourceSeries((header,), frame_numbers)


def regular_positions(
    slices: int, orientation: tuple[float, ...] = OBLIQUE
) -> list[NDArray[np.float64]]:
    """Positions 2.5 mm apart along the slice normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    start = np.asarray([-40.25, -31.5, 12.75])
    return [start + STEP_MM * index * normal for index in range(slices)]


def tilted_positions(slices: int, degrees: float = 18.5) -> list[NDArray[np.float64]]:
    """Axial slices whose stack leans, as with a tilted gantry: sheared in y."""
    lean = np.tan(np.radians(degrees)) * STEP_MM
    start = np.asarray([-40.25, -31.5, 12.75])
    return [start + index * np.asarray([0.0, lean, STEP_MM]) for index in range(slices)]


def write_series(source: SourceSeries, folder: Path) -> list[Path]:
    """Write the images with a smooth pattern as pixels, for readers that look at them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, header in enumerate(source.headers):
        image = Dataset()
        image.update(header)
        frames = len(source.frame_numbers) or 1
        image.PixelData = _pattern(index, frames, int(header.Rows), int(header.Columns)).tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{index:04d}.dcm"
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _pattern(first: int, frames: int, rows: int, columns: int) -> NDArray[np.uint16]:
    z, y, x = np.mgrid[first : first + frames, :rows, :columns]
    wave = np.sin(x / 4.0) + np.cos(y / 5.0) + np.sin(z / 3.0)
    values: NDArray[np.uint16] = (300 + 90 * wave).astype(np.uint16)
    return values


def _frame_geometry() -> Dataset:
    geometry = Dataset()
    geometry.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(OBLIQUE))]
    geometry.PixelMeasuresSequence = [_item(PixelSpacing=[0.9, 0.8], SliceThickness=2.0)]
    return geometry


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _mr_header(sop_class: str, sop_instance: str, rows: int, columns: int) -> Dataset:
    header = _item(
        SpecificCharacterSet="ISO_IR 100",
        SOPClassUID=sop_class,
        SOPInstanceUID=sop_instance,
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=SERIES,
        FrameOfReferenceUID=FRAME_OF_REFERENCE,
        PositionReferenceIndicator="",
        Modality="MR",
        Manufacturer="Scanner Works",
        PatientName="Grün^Zoë",
        PatientID="PID-7",
        IssuerOfPatientID="HOSPITAL-A",
        PatientBirthDate="19640229",
        PatientSex="F",
        PatientAge="060Y",
        StudyDate="20240115",
        StudyTime="093000.5",
        StudyID="ST1",
        StudyDescription="Schädel",
        AccessionNumber="ACC-9",
        ReferringPhysicianName="Weiß^Änne",
        SeriesNumber=4,
        SeriesDescription="t1 3D",
        Laterality="",
        PatientPosition="HFS",
        BodyPartExamined="BRAIN",
        Rows=rows,
        Columns=columns,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
    )
    issuer = _item(LocalNamespaceEntityID="RIS-A")
    header.IssuerOfAccessionNumberSequence = [issuer]
    block = header.private_block(0x0029, "SCANNER PRIVATE", create=True)
    block.add_new(0x10, "LO", "secret of the vendor")
    return header
