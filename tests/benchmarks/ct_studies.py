"""Synthetic CT studies of noise: slices of 0.5 MB, and one multi-frame object of a gigabyte.

Noise, because a file system or a receiver that compresses would win by it with anything else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

MB = 10**6
_UID_ROOT = "1.2.826.0.1.3680043.10.1561.71"
_ROWS = _COLUMNS = 512
_FRAME_BYTES = _ROWS * _COLUMNS * 2
_SERIES_PER_STUDY = 3
_STORED_BITS = 12


@dataclass(frozen=True, slots=True)
class SentStudy:
    """The files of one study, in the order in which they are sent, and what must arrive of it."""

    files: tuple[Path, ...]
    study_instance_uid: str
    sop_instance_uids: frozenset[str]
    size_bytes: int


def write_ct_study(folder: Path, *, number: int, slices: int) -> SentStudy:
    """Write one study of several series; the same number gives the same UIDs and pixels."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(number)
    files, uids, size_bytes = list[Path](), [], 0
    for index in range(slices):
        dataset = _slice(number, index, slices)
        pixels = noise.integers(0, 1 << _STORED_BITS, (_ROWS, _COLUMNS), dtype=np.uint16)
        dataset.PixelData = pixels.tobytes()
        path = folder / f"{index:05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        files.append(path)
        uids.append(str(dataset.SOPInstanceUID))
        size_bytes += path.stat().st_size
    return SentStudy(tuple(files), _study_uid(number), frozenset(uids), size_bytes)


def in_no_order(study: SentStudy) -> SentStudy:
    """Return the study with its series all mixed, as some archives send it; the same each time."""
    files = random.Random(study.study_instance_uid).sample(study.files, len(study.files))
    return replace(study, files=tuple(files))


def write_large_object(folder: Path, *, number: int, size_bytes: int) -> SentStudy:
    """Write one multi-frame secondary capture of about that size, frame after frame."""
    folder.mkdir(parents=True)
    frames = max(1, size_bytes // _FRAME_BYTES)
    dataset = _study_of(number)
    dataset.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    dataset.SOPInstanceUID = f"{_study_uid(number)}.1.1"
    dataset.Modality = "OT"
    dataset.ConversionType = "SYN"
    dataset.SeriesInstanceUID = f"{_study_uid(number)}.1"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.NumberOfFrames = frames
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = 40
    _describe_pixels(dataset)
    path = folder / "large.dcm"
    _write_by_frames(path, dataset, frames, np.random.default_rng(number))
    uids = frozenset({str(dataset.SOPInstanceUID)})
    return SentStudy((path,), _study_uid(number), uids, path.stat().st_size)


def _write_by_frames(path: Path, dataset: Dataset, frames: int, noise: np.random.Generator) -> None:
    dcmwrite(path, dataset, enforce_file_format=True)
    with path.open("ab") as file:
        out = DicomFileLike(file)
        out.is_little_endian, out.is_implicit_VR = True, False
        out.write_tag(0x7FE00010)
        out.write(b"OW\0\0")
        out.write_UL(frames * _FRAME_BYTES)
        for frame in _frames(frames, noise):
            file.write(frame)


def _frames(frames: int, noise: np.random.Generator) -> Iterator[bytes]:
    for _ in range(frames):
        yield noise.integers(0, 1 << _STORED_BITS, (_ROWS, _COLUMNS), dtype=np.uint16).tobytes()


def _slice(number: int, index: int, slices: int) -> Dataset:
    series = index * _SERIES_PER_STUDY // slices + 1
    series_uid = f"{_study_uid(number)}.{series}"
    dataset = _study_of(number)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{series_uid}.{index + 1}"
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = series
    dataset.SeriesDescription = f"Noise {series}"
    dataset.Manufacturer = "Synthetic"
    dataset.FrameOfReferenceUID = f"{_study_uid(number)}.0"
    dataset.PositionReferenceIndicator = ""
    dataset.InstanceNumber, dataset.AcquisitionNumber = index + 1, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.KVP = 120
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.SliceThickness = 1
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-180, -180, index]
    _describe_pixels(dataset)
    return dataset


def _study_of(number: int) -> Dataset:
    dataset = Dataset()
    dataset.PatientName = f"Noise^{number}"
    dataset.PatientID = f"NOISE{number}"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyInstanceUID = _study_uid(number)
    dataset.StudyDate, dataset.StudyTime = "20260314", "101500"
    dataset.AccessionNumber, dataset.StudyID = f"N{number}", str(number)
    dataset.ReferringPhysicianName = ""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _describe_pixels(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = _ROWS, _COLUMNS
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0


def _study_uid(number: int) -> str:
    return f"{_UID_ROOT}.{number}"
