"""Receipts that a killed receiver left behind: its instances get their rows now."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.acknowledged import acknowledged, settled
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.durable import file_errors
from storage.errors import DatabaseUnavailable, OutOfSpace, StorageError
from storage.instance_files import InstanceFiles
from storage.instances import is_kept, record_instances
from storage.receipt_text import read_receipts
from storage.receipts import pages


@dataclass(frozen=True, slots=True)
class Found:
    """How many instances got their row; how many cannot get one: their receipts stay."""

    recorded: int = 0
    left: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(self.recorded + other.recorded, self.left + other.left)


def record_abandoned(db: Database, files: InstanceFiles) -> Found:
    """Write the rows for which a process that is dead gave receipts; pages in use are passed over.

    May be called at any time, by several processes, and again after it was cut off.

    Raises:
        DatabaseUnavailable, OutOfSpace: try again later; nothing is lost.
    """
    found = Found()
    for page in pages(files.data_dir):
        try:
            with file_errors(), _taken(page) as content:
                if content is not None:
                    found += _record(db, files, page, content)
        except (DatabaseUnavailable, OutOfSpace):
            raise
        except StorageError:
            # It cannot be read: a person has to see to it, and the others do not wait for that.
            found += Found(left=1)
    return found


@contextmanager
def _taken(page: Path) -> Iterator[bytes | None]:
    """Lock a page and give its content; None, where its process lives, or it is settled."""
    try:
        descriptor = os.open(page, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    with os.fdopen(descriptor, "rb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.read()


def _record(db: Database, files: InstanceFiles, page: Path, content: bytes) -> Found:
    found = Found()
    for incoming in read_receipts(content):
        found += _recorded(db, files, incoming)
    if not found.left:
        page.unlink(missing_ok=True)
    return found


def _is_missing(db: Database, files: InstanceFiles, incoming: IncomingInstance) -> bool:
    """Whether the file lies at its place, and no row names it."""
    return files.absolute(incoming.path).exists() and not is_kept(db, incoming.path)


def _recorded(db: Database, files: InstanceFiles, incoming: IncomingInstance) -> Found:
    # Its association is over; that it brought something of the study is on record since it began.
    alone = incoming._replace(association_id=None)
    try:
        files.bring_in(alone.path)
    except StorageError:
        return Found(left=1)
    if not _is_missing(db, files, alone):
        return Found()
    try:
        known = acknowledged(files, alone, alone.dataset_digest)
        # The receipt goes when the row is there: its file may have been moved just now.
        files.sync_folders((known.path,))
        (result,) = record_instances(db, [known], files=files)
        settled(db, files, known, result)
    except (DatabaseUnavailable, OutOfSpace):
        raise
    except StorageError:
        return Found(left=1)
    return Found(recorded=1)
