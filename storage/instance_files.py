"""Instance files on disk: durable before they are acknowledged, private, named by UIDs only.

    <data_dir>/incoming/<random>.part                          being received
    <data_dir>/instances/<study>/<series>/<sop>.<digest>.dcm   kept
    <data_dir>/results/<job id>/                               made by a job

A kept file is never overwritten: what a job was pinned to stays as it was.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from storage.durable import durable_write, file_errors, make_private_dir, sync_dir
from storage.errors import InvalidUid, StorageError

__all__ = ["IncomingFile", "InstanceFiles", "durable_write", "uid_tag", "validated_uid"]

MAX_UID_LENGTH = 64
# Leading zeros in a component are wrong (PS3.5 9.1), but devices write them; they do no harm.
UID = re.compile(r"[0-9]+(\.[0-9]+)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST_LENGTH = 16


def uid_tag(uid: str) -> str:
    """A short stand-in for a UID in logs: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:12]


def validated_uid(uid: str) -> str:
    """`uid` itself if it is a DICOM UID (PS3.5 9.1): digits and single dots, at most 64.

    Raises:
        InvalidUid: it is not; the text does not repeat it.
    """
    if len(uid) > MAX_UID_LENGTH or not UID.fullmatch(uid):
        raise InvalidUid(f"not a DICOM UID (length {len(uid)}, tag {uid_tag(uid)})")
    return uid


class IncomingFile:
    """A private file for one instance on its way in; see `InstanceFiles.open_incoming`."""

    def __init__(self, files: InstanceFiles, path: Path) -> None:
        self.path = path
        self.file: BinaryIO = open(path, "x+b", opener=_private_opener)  # noqa: SIM115
        self._files = files

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            OutOfSpace: the disk is full.
        """
        with file_errors():
            self.file.write(content)

    def keep(
        self, study_uid: str, series_uid: str, sop_uid: str, content_sha256: str
    ) -> PurePosixPath:
        """Make the file durable at its place and return that place, relative to the data dir.

        Nobody else has this place: even the same bytes received twice lie in two files, so a
        duplicate can be discarded without a look at what else there is.

        Raises:
            InvalidUid: a UID is none. OutOfSpace: the disk is full. StorageError: other failures.
        """
        folder, stem = _place(study_uid, series_uid, sop_uid, content_sha256)
        with file_errors():
            self.file.flush()
            os.fsync(self.file.fileno())
            relative = self._files.reserve(folder, stem)
            target = self._files.absolute(relative)
            try:
                self.path.replace(target)
            except BaseException:
                target.unlink(missing_ok=True)
                raise
            sync_dir(target.parent)
        return relative

    def close(self) -> None:
        """Close the file and delete it unless it was kept."""
        # A full disk shows itself in close(), too: the buffer is flushed. The file must go anyway.
        try:
            self.file.close()
        finally:
            self.path.unlink(missing_ok=True)


class InstanceFiles:
    """All files of one node under one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.incoming_dir = self.data_dir / "incoming"
        with file_errors():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("incoming", "instances", "results"):
                make_private_dir(self.data_dir / name, name)

    @contextmanager
    def open_incoming(self) -> Iterator[IncomingFile]:
        """A new private file; leaving the block without `keep` deletes it.

        Raises:
            OutOfSpace: the disk is full, also when a write to `.file` in the block found that.
        """
        with file_errors(only_full=True):
            incoming = IncomingFile(self, self.incoming_dir / f"{secrets.token_hex(16)}.part")
            try:
                yield incoming
            finally:
                incoming.close()

    def absolute(self, relative: PurePosixPath | str) -> Path:
        """The file behind a path of the database.

        Raises:
            StorageError: the path leads out of the data directory.
        """
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts or "\x00" in str(path):
            raise StorageError("a stored path leads out of the data directory")
        return self.data_dir / path

    def results_dir(self, job_id: int) -> Path:
        """The directory for the objects of one job; made if it is missing."""
        path = self.data_dir / "results" / str(int(job_id))
        with file_errors():
            make_private_dir(path, f"results/{int(job_id)}")
        return path

    def reserve(self, folder: PurePosixPath, stem: str) -> PurePosixPath:
        """Take the first free name `<stem>.dcm`, `<stem>.2.dcm`, ... by an empty file there."""
        for number in count(1):
            relative = folder / (f"{stem}.dcm" if number == 1 else f"{stem}.{number}.dcm")
            with suppress(FileExistsError):
                self._create_empty(relative)
                return relative
        raise AssertionError("unreachable")

    def discard(self, relative: PurePosixPath) -> None:
        """Delete one file; one that is gone already is fine."""
        with file_errors():
            self.absolute(relative).unlink(missing_ok=True)

    def sweep_incoming(self, older_than: datetime | None) -> int:
        """Delete what crashed receivers left behind before `older_than`; how many files.

        None, where no receiver runs: all of it.
        """
        swept = 0
        for path in self.incoming_dir.iterdir():
            # A receiver may finish its file between the listing and the look at it.
            with suppress(FileNotFoundError):
                if older_than is None or path.stat().st_mtime < older_than.timestamp():
                    path.unlink()
                    swept += 1
        return swept

    def free_mib(self) -> int:
        """Free space for us on the data directory's disk, in units of 2**20 bytes."""
        return shutil.disk_usage(self.data_dir).free // 2**20

    def is_low(self, limit_mib: int) -> bool:
        """Whether less than `limit_mib` is free."""
        return self.free_mib() < limit_mib

    def _create_empty(self, relative: PurePosixPath) -> None:
        path = self.absolute(relative)
        # A second try, because the sweep of old studies may take an empty directory away.
        for last in (False, True):
            self._make_dirs(relative.parent)
            try:
                os.close(_private_opener(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                return
            except FileNotFoundError:
                if last:
                    raise

    def _make_dirs(self, folder: PurePosixPath) -> None:
        path = self.data_dir
        for part in folder.parts:
            path = path / part
            name = part if path.parent == self.data_dir else f"a folder below {folder.parts[0]}"
            make_private_dir(path, name)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _place(
    study_uid: str, series_uid: str, sop_uid: str, content_sha256: str
) -> tuple[PurePosixPath, str]:
    """Folder and stem of a kept file, made of nothing but checked digits and dots."""
    study, series, sop = map(validated_uid, (study_uid, series_uid, sop_uid))
    if not SHA256.fullmatch(content_sha256):
        raise StorageError("a SHA-256 is 64 lower-case hexadecimal digits")
    folder = PurePosixPath("instances") / study / series
    return folder, f"{sop}.{content_sha256[:DIGEST_LENGTH]}"
