"""The headers of a study as selection sees them: of each series one representative instance."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from node.receive.parse_errors import PARSE_ERRORS
from pipelines.image_kinds import is_projection, projections_among
from pipelines.selection import SeriesCandidate
from storage import studies
from storage.database import Database
from storage.dicom_records import InstanceRecord, SeriesRecord
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series

_MOST_PROJECTIONS = 64

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that selection may choose, with the instances that it would bring along."""

    candidate: SeriesCandidate
    instances: tuple[InstanceRecord, ...]


@dataclass(frozen=True, slots=True)
class StudyHeaders:
    """The readable series of a study by UID, and why the others are not."""

    by_series: Mapping[str, Candidate]
    unreadable: tuple[str, ...]


def read_headers(db: Database, files: InstanceFiles, study_uid: str) -> StudyHeaders:
    """Read what selection needs of a study; of a series of projections, all images.

    Raises:
        StorageError: the database is away, or a file cannot be read now.
    """
    readable: dict[str, Candidate] = {}
    unreadable = []
    for record in studies.series_of_study(db, study_uid):
        instances = instances_of_series(db, record.header.series_instance_uid)
        if not instances:
            continue  # all of it was taken back, or it holds notes on images
        header = _representative_header(files, instances)
        if header is None:
            unreadable.append(f"{_told(record)}: no instance can be read")
            continue
        images = _projections(files, instances) if is_projection(header) else ()
        candidate = SeriesCandidate(record, header, len(instances), images)
        readable[record.header.series_instance_uid] = Candidate(candidate, instances)
    return StudyHeaders(readable, tuple(unreadable))


def _projections(
    files: InstanceFiles, instances: tuple[InstanceRecord, ...]
) -> tuple[Dataset, ...]:
    """Headers of the images of a series of projections, whose views differ; the first ones."""
    paths = (files.absolute(record.path) for record in instances[:_MOST_PROJECTIONS])
    return projections_among(header for path in paths if (header := _header(path)) is not None)


def _representative_header(
    files: InstanceFiles, instances: tuple[InstanceRecord, ...]
) -> Dataset | None:
    """Return the header of the middle instance, or of the first that can be read.

    The middle one, because a series may begin with a localizer.
    """
    middle = len(instances) // 2
    for record in (*instances[middle : middle + 1], *instances):
        header = _header(files.absolute(record.path))
        if header is not None:
            return header
    return None


def _header(path: Path) -> Dataset | None:
    try:
        return dcmread(path, stop_before_pixels=True)
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):
            # Too many open files, a disk that is away: it says nothing about the instance.
            raise StorageError(f"an instance cannot be read now: {error.strerror}") from None
        _log.warning("instance_unreadable", reason=type(error).__name__)
        return None
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        _log.warning("instance_unreadable", reason=type(error).__name__)
        return None


def _told(record: SeriesRecord) -> str:
    number = record.header.series_number
    return "series without number" if number is None else f"series {number}"
