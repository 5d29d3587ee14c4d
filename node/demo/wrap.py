"""Wrap a volume as a classic MR Image Storage series (PS3.3 A.4), as a scanner would send it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from node.demo.grid import SliceGrid

LARGEST_STORED = 32767
_NAMESPACE = uuid.UUID("5cb5cb58-1b0f-5a52-8f3a-4d6d5b9c2f10")


@dataclass(frozen=True, slots=True)
class WrappedStudy:
    """Who the fictional patient is and what the study is called."""

    key: str
    patient_name: str
    patient_id: str
    accession_number: str
    study_description: str
    series_description: str = "HippoCrop"
    study_date: str = "20240116"
    study_time: str = "091500"

    @property
    def study_instance_uid(self) -> UID:
        """The same at every run, so that two demos make the same study."""
        return demo_uid("study", self.key)


def demo_uid(*parts: str) -> UID:
    """Return a UID that follows from its parts (PS3.5 B.2: 2.25 and a UUID as an integer)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(parts)).int}")


def wrap(grid: SliceGrid, study: WrappedStudy) -> list[Dataset]:
    """Return one MR image a slice, in the order of the slices.

    Whole numbers that fit are stored as they are; other voxels with a Rescale Slope that uses
    all of int16, so that stored x slope is off by half a slope at most.
    """
    slope = rescale_slope(grid.voxels)
    stored = np.rint(grid.voxels / float(slope)).astype("<i2")
    return [_image(grid, study, index, pixels, slope) for index, pixels in enumerate(stored)]


def rescale_slope(voxels: NDArray[Any]) -> str:
    """Return the Rescale Slope as DICOM writes it: 1 where nothing would be lost by it."""
    largest = float(np.abs(voxels).max())
    if largest <= LARGEST_STORED and np.array_equal(voxels, np.rint(voxels)):
        return "1"
    return str(format_number_as_ds(largest / LARGEST_STORED))


def _image(
    grid: SliceGrid, study: WrappedStudy, index: int, pixels: NDArray[np.int16], slope: str
) -> Dataset:
    image = Dataset()
    image.update(_patient_and_study(study))
    image.update(_series(study))
    image.update(_plane(grid, index))
    image.update(_pixels(pixels, slope, grid))
    image.SOPClassUID = MRImageStorage
    image.SOPInstanceUID = demo_uid("image", study.key, str(index))
    image.InstanceNumber = index + 1
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = MRImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def _patient_and_study(study: WrappedStudy) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = study.patient_name
    header.PatientID = study.patient_id
    header.PatientBirthDate = ""
    header.PatientSex = "O"
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "Published without identity; name and numbers are fictional"
    header.StudyInstanceUID = study.study_instance_uid
    header.StudyDate = study.study_date
    header.StudyTime = study.study_time
    header.StudyID = "1"
    header.StudyDescription = study.study_description
    header.AccessionNumber = study.accession_number
    header.ReferringPhysicianName = ""
    return header


def _series(study: WrappedStudy) -> Dataset:
    header = Dataset()
    header.Modality = "MR"
    header.SeriesInstanceUID = demo_uid("series", study.key)
    header.SeriesNumber = 11
    header.SeriesDescription = study.series_description
    header.SeriesDate = study.study_date
    header.SeriesTime = study.study_time
    header.FrameOfReferenceUID = demo_uid("frame of reference", study.key)
    header.PositionReferenceIndicator = ""
    header.PatientPosition = "HFS"
    header.BodyPartExamined = "HEAD"
    header.Manufacturer = ""
    header.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # How these were scanned is not published with them: research mode claims nothing.
    header.ScanningSequence = "RM"
    header.SequenceVariant = "NONE"
    header.ScanOptions = ""
    header.MRAcquisitionType = "3D"
    header.EchoTime = None
    header.EchoTrainLength = None
    header.RepetitionTime = None
    return header


def _plane(grid: SliceGrid, index: int) -> Dataset:
    slice_mm, row_mm, column_mm = grid.spacing_mm
    header = Dataset()
    along_a_row = grid.affine_lps[:3, 2] / column_mm
    down_a_column = grid.affine_lps[:3, 1] / row_mm
    header.ImageOrientationPatient = _ds([*along_a_row, *down_a_column])
    header.ImagePositionPatient = _ds((grid.affine_lps @ [index, 0, 0, 1])[:3])
    header.PixelSpacing = _ds([row_mm, column_mm])
    header.SliceThickness = _ds([slice_mm])
    header.SpacingBetweenSlices = _ds([slice_mm])
    return header


def _pixels(pixels: NDArray[np.int16], slope: str, grid: SliceGrid) -> Dataset:
    header = Dataset()
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = pixels.shape
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = 1
    if slope != "1":  # not part of the MR IOD: a Standard Extended SOP Class, only where needed
        header.RescaleIntercept = "0"
        header.RescaleSlope = slope
        header.RescaleType = "US"
    low, high = (float(value) for value in np.percentile(grid.voxels, (0.5, 99.5)))
    header.WindowCenter = _ds([(low + high) / 2])
    header.WindowWidth = _ds([max(high - low, 1.0)])
    header.PixelData = pixels.tobytes()
    return header


def _ds(values: Any) -> list[str]:
    # 0.0 is added because DICOM has no use for a negative zero.
    return [format_number_as_ds(float(value) + 0.0) for value in values]
