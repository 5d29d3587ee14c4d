"""Small synthetic MR studies as Part 10 files, for sending."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

ROOT = "1.2.826.0.1.3680043.10.1561"
STUDY = f"{ROOT}.1"
SERIES = f"{ROOT}.1.1"


def mr_instance(
    number: int = 1,
    *,
    study: str = STUDY,
    series: str = SERIES,
    side: int = 16,
    transfer_syntax: UID = ExplicitVRLittleEndian,
) -> Dataset:
    """Return one sagittal MR slice; the same arguments give the same data set."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = f"{series}.{number}"
    dataset.StudyDate = "20260102"
    dataset.StudyTime = "101112"
    dataset.AccessionNumber = "A1"
    dataset.Modality = "MR"
    dataset.Manufacturer = "Synthetic"
    dataset.StudyDescription = "Brain"
    dataset.SeriesDescription = "T1 3D"
    dataset.PatientName = "Müller^Änne"
    dataset.PatientID = "P1"
    dataset.IssuerOfPatientID = "HOSP"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.StudyID = "S1"
    dataset.SeriesNumber = 3
    dataset.InstanceNumber = number
    dataset.FrameOfReferenceUID = f"{study}.99"
    dataset.ImagePositionPatient = [float(number), 0.0, 0.0]
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.PixelSpacing = [1, 1]
    dataset.SliceThickness = 1
    _add_pixels(dataset, side, seed=number)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    return dataset


def write(dataset: Dataset, folder: Path) -> Path:
    """Write a Part 10 file named by Instance Number."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.get('InstanceNumber') or 0:04d}.dcm"
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def mr_series(folder: Path, count: int, *, study: str = STUDY, series: str = SERIES) -> list[Path]:
    """Write a whole series."""
    return [
        write(mr_instance(number, study=study, series=series), folder)
        for number in range(1, count + 1)
    ]


def dataset_bytes(path: Path) -> bytes:
    """Return the data set of a Part 10 file: all after the File Meta Information."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def _add_pixels(dataset: Dataset, side: int, seed: int) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    pixels = np.random.default_rng(seed).integers(0, 4096, (side, side), dtype=np.uint16)
    dataset.PixelData = pixels.tobytes()
