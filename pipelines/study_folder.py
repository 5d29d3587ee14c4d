"""A folder of DICOM files as series to choose from, for runs without a node."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pipelines.criteria import attribute_values
from pipelines.errors import RefusalCode, Refused
from pipelines.image_kinds import projections_among
from pipelines.selection import SeriesCandidate
from storage.dicom_records import SeriesHeader, SeriesRecord


@dataclass(frozen=True, slots=True)
class FolderSeries:
    """One series of the folder: what selection sees, and its files."""

    candidate: SeriesCandidate
    paths: tuple[Path, ...]


def series_of_folder(folder: Path) -> tuple[FolderSeries, ...]:
    """Every series below `folder`; files that are not DICOM are passed over.

    Raises `Refused` (mixed_series) when the files belong to several studies: inputs of one
    pipeline must be of one patient.
    """
    by_series: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for path, header in _headers(sorted(folder.rglob("*"))):
        by_series[str(header.SeriesInstanceUID)].append((path, header))
    studies = {str(found[0][1].get("StudyInstanceUID", "")) for found in by_series.values()}
    if len(studies) > 1:
        raise Refused(RefusalCode.MIXED_SERIES, f"the folder holds {len(studies)} studies")
    return tuple(_series(uid, found) for uid, found in sorted(by_series.items()))


def _headers(paths: Iterable[Path]) -> Iterator[tuple[Path, Dataset]]:
    for path in paths:
        if not path.is_file():
            continue
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        if header.get("SeriesInstanceUID"):  # a DICOMDIR has none
            yield path, header


def _series(uid: str, found: list[tuple[Path, Dataset]]) -> FolderSeries:
    first = found[0][1]
    number = attribute_values(first, "SeriesNumber")
    header = SeriesHeader(
        uid,
        modality=str(first.get("Modality") or ""),
        series_number=number[0] if number and isinstance(number[0], int) else None,
        series_description=str(first.get("SeriesDescription") or ""),
    )
    record = SeriesRecord(header, str(first.get("StudyInstanceUID", "")), len(found))
    paths = tuple(path for path, _ in found)
    images = projections_among(header for _, header in found)
    return FolderSeries(SeriesCandidate(record, first, len(found), images), paths)


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) of the files' contents, in whatever order and under whatever names."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("".join(digests).encode()).hexdigest()
