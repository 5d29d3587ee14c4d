"""A small, valid, synthetic MR series: a bright curved body in noise, the size of a hippocampus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

PATIENT_NAME = "Quagmyre^Zephirine"
PATIENT_ID = "MRN7Q4X9"
ACCESSION_NUMBER = "ACC5T8ZK"
BIRTH_DATE = "19430917"
PATIENT_TEXTS = ("Quagmyre", "Zephirine", PATIENT_ID, ACCESSION_NUMBER, BIRTH_DATE, "1943-09-17")
"""What must stand in no log, in any spelling of ours."""

_UID_ROOT = "1.2.826.0.1.3680043.10.1561.70"

_SHAPE = (36, 50, 34)
"""Slices, rows and columns; 1 mm apart."""


@dataclass(frozen=True)
class SmallStudy:
    """The files of one series, in slice order, and their UIDs."""

    study_instance_uid: str
    series_instance_uid: str
    paths: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]


def write_small_study(folder: Path, *, number: int = 1) -> SmallStudy:
    """Write the series into `folder`; the same number gives the same UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    study_uid = f"{_UID_ROOT}.{number}"
    series_uid = f"{study_uid}.1"
    paths, uids = [], []
    for index, pixels in enumerate(_voxels()):
        dataset = _slice(study_uid, series_uid, index, pixels)
        path = folder / f"{index + 1:03d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
        uids.append(str(dataset.SOPInstanceUID))
    return SmallStudy(study_uid, series_uid, tuple(paths), tuple(uids))


def _voxels() -> NDArray[np.uint16]:
    z, y, x = np.indices(_SHAPE, dtype=np.float64)
    middle_x = 17 + 5 * np.sin((y - 25) / 12)
    middle_z = 18 - 4 * np.cos((y - 25) / 14)
    radius = np.where(y < 25, 5.5, 4.0)
    distance = np.hypot(x - middle_x, z - middle_z) / radius
    body = (distance < 1) & (np.abs(y - 25) < 18)
    tissue = 260 + 80 * (np.sin(x / 5) + np.cos(y / 6) * np.sin(z / 7))  # shaded as a brain is
    noise = np.random.default_rng(1).normal(0, 12, _SHAPE)
    return np.clip(np.where(body, 420, tissue) + noise, 0, 4095).astype(np.uint16)


def _slice(study_uid: str, series_uid: str, index: int, pixels: NDArray[np.uint16]) -> Dataset:
    dataset = _patient_and_study(study_uid)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = f"{series_uid}.{index + 1}"
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = 3
    dataset.SeriesDescription = "T1 hippocampus crop"
    dataset.Manufacturer = "Synthetic"
    dataset.FrameOfReferenceUID = f"{series_uid}.0"
    dataset.PositionReferenceIndicator = ""
    dataset.InstanceNumber = index + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ScanningSequence, dataset.SequenceVariant = "GR", "SP"
    dataset.ScanOptions, dataset.MRAcquisitionType = "", "3D"
    dataset.EchoTime, dataset.RepetitionTime, dataset.EchoTrainLength = 3, 2000, 1
    dataset.SliceThickness, dataset.SpacingBetweenSlices = 1, 1
    dataset.PixelSpacing = [1, 1]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [10, -20, index - 30]
    _set_pixels(dataset, pixels)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _patient_and_study(study_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = PATIENT_NAME
    dataset.PatientID = PATIENT_ID
    dataset.PatientBirthDate = BIRTH_DATE
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = study_uid
    dataset.StudyDate, dataset.StudyTime = "20260314", "101500"
    dataset.AccessionNumber = ACCESSION_NUMBER
    dataset.StudyID = "1"
    dataset.StudyDescription = "MR brain"
    dataset.ReferringPhysicianName = ""
    return dataset


def _set_pixels(dataset: Dataset, pixels: NDArray[np.uint16]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
