"""Instance files on disk: durable before they are acknowledged, private, named by UIDs only.

    <data_dir>/incoming/<random>.part                                   being or just received
    <data_dir>/instances/<study>/<series>/<sop>.<random>.dcm            kept
    <data_dir>/quarantine/<random>.dcm                                  contradicts what is known
    <data_dir>/results/<job id>/                                        made by a job

A file that only a receipt names, as yet, may lie in incoming/ still: its `bring_in` is due.
A kept file is never overwritten: what a job was pinned to stays as it was. "Durable" means what
the durability asks for: `fsync` brings files and directory entries to the disk, `os` leaves that
to the operating system.
"""

from __future__ import annotations

import os
import shutil
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TypeVar

from config.setting_types import Durability
from storage.data_set_files import has_same_data_set, not_read
from storage.dataset_digest import dataset_digest, sure_digest
from storage.durable import durable_write, file_errors, make_private_dir
from storage.errors import StorageError
from storage.incoming_file import IncomingFile, SpareFile, new_chance
from storage.open_folders import OpenFolder, OpenFolders
from storage.receipts import paths_in_receipts
from storage.reserved_space import reserve
from storage.uids import MAX_UID_LENGTH, UID, uid_tag, validated_uid

__all__ = [
    "MAX_UID_LENGTH",
    "UID",
    "IncomingFile",
    "InstanceFiles",
    "SpareFile",
    "durable_write",
    "uid_tag",
    "validated_uid",
]

_LOOK_AGAIN_S = 0.1
_MUCH_FREE_MIB = 1024
_REMEMBERED_SERIES = 128
T = TypeVar("T")


@lru_cache(maxsize=_REMEMBERED_SERIES)
def _series_folder(study_uid: str, series_uid: str) -> str:
    return f"instances/{validated_uid(study_uid)}/{validated_uid(series_uid)}"


def _chance_of(place: str) -> str:
    """Return the chance in the name of a place that `InstanceFiles.new_place` gave."""
    return place.rpartition("/")[2].removesuffix(".dcm").rpartition(".")[2]


class InstanceFiles:
    """All files of one node under one data directory."""

    def __init__(self, data_dir: Path, durability: Durability = "fsync") -> None:
        self.data_dir = data_dir.absolute()
        self.incoming_dir = self.data_dir / "incoming"
        self._is_synced = durability == "fsync"
        self._folders = OpenFolders(self.data_dir)
        self._free_mib, self._look_again_at = 0, 0.0
        with file_errors():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("incoming", "instances", "quarantine", "results"):
                make_private_dir(self.data_dir / name, name)

    def open_incoming(self, spare: SpareFile | None = None) -> IncomingFile:
        """Return a new private file, `spare` if it is there, to be used in a `with` block.

        Leaving the block without `keep` deletes it.

        Raises:
            OutOfSpace: the disk is full, also when a write in the block found that.
        """
        with file_errors(only_full=True):
            return (spare and spare.taken()) or IncomingFile(self)

    def absolute(self, relative: PurePosixPath | str) -> Path:
        """The file behind a path of the database.

        Raises:
            StorageError: the path leads out of the data directory.
        """
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts or "\x00" in str(path):
            raise StorageError("a stored path leads out of the data directory")
        return self.data_dir / path

    def new_place(self, study_uid: str, series_uid: str, sop_uid: str, chance: str) -> str:
        """Return a path of a kept file that no other has; made of checked digits and dots alone.

        `chance` is what `new_chance` has given to this file alone.

        Raises:
            InvalidUid: a UID is none.
        """
        folder = _series_folder(study_uid, series_uid)
        return f"{folder}/{validated_uid(sop_uid)}.{chance}.dcm"

    def series_folder(self, study_uid: str, series_uid: str) -> OpenFolder:
        """Return the folder of a series, open as long as it is held.

        Raises:
            InvalidUid: a UID is none. StorageError: it cannot be made or opened.
        """
        with file_errors():
            return self._folders.held(_series_folder(study_uid, series_uid))

    def incoming_name(self, chance: str) -> str:
        """Return where a file lies while it comes in."""
        return f"{self.incoming_dir}/{chance}.part"

    @property
    def is_synced(self) -> bool:
        """Whether files are to be on the disk before they are acknowledged."""
        return self._is_synced

    def bring_in(self, place: str) -> None:
        """Move a file to its place, if it still lies where it came in (`IncomingFile.leave`).

        Two may try at once: whoever is second finds nothing to do.

        Raises:
            OutOfSpace: the disk is full. StorageError: any other failure.
        """
        name = self.incoming_name(_chance_of(place))
        with file_errors():
            if not os.path.lexists(name):
                return
            try:
                self.move_in(name, place)
            except FileNotFoundError:
                if os.path.lexists(name):
                    raise

    def bring_in_or_drop(self, place: str) -> None:
        """The same for one that nobody has acknowledged: where it cannot be moved, it goes."""
        try:
            self.bring_in(place)
        except StorageError:
            with suppress(OSError):
                Path(self.incoming_name(_chance_of(place))).unlink()
            raise

    def dataset_digest(self, place: str) -> str:
        """Return the digest of a kept file's data set.

        Raises:
            UnreadableFile: it cannot be read, or has no head. StorageError: not just now.
        """
        return self._read(dataset_digest, place)

    def check_size(self, place: str, size_bytes: int) -> None:
        """Raise `StorageError` unless a kept file has this size: a power cut may have cut it."""
        with file_errors():
            found = self.absolute(place).stat().st_size
        if found != size_bytes:
            raise StorageError(f"a kept file has {found} bytes instead of {size_bytes}")

    def sure_digest(self, place: str) -> str:
        """Return one that no other data set can have; raises the same."""
        return self._read(sure_digest, place)

    def has_same_data_set(self, place: str, kept: str) -> bool:
        """Whether a file has the data set of a kept one, and that is not lost; raises the same."""
        return self._read(lambda path: has_same_data_set(path, self.absolute(kept)), place)

    def _read(self, read: Callable[[Path], T], place: str) -> T:
        try:
            return read(self.absolute(place))
        except (OSError, struct.error) as error:
            raise not_read(error) from None

    def results_dir(self, job_id: int) -> Path:
        """The directory for the objects of one job; made if it is missing."""
        path = self.data_dir / "results" / str(int(job_id))
        with file_errors():
            make_private_dir(path, f"results/{int(job_id)}")
        return path

    def move_in(self, path: Path | str, place: str) -> None:
        """Move a file to a place that nobody else has; missing folders are made."""
        self._folders.move_in(path, place)

    def reserve(self, descriptor: int, size_bytes: int) -> int:
        """Reserve space for the first bytes of an empty file; how many are reserved.

        None where space is scarce: what has come goes first.
        """
        return reserve(descriptor, self.to_reserve(size_bytes))

    def to_reserve(self, size_bytes: int) -> int:
        """Return how much is to be reserved of what would be of use."""
        # Where the disk is waited for, that takes as long whoever chose the blocks, and when.
        return 0 if self._is_synced or self.is_low(_MUCH_FREE_MIB) else size_bytes

    def begin_sync(self, descriptor: int, start: int) -> bool:
        """Have the disk begin with what was written from byte `start` on, and do not wait for it.

        So `sync_content` has less to wait for. False: that waits for nothing.
        """
        if self._is_synced:
            # Linux starts to write such pages, and drops none that are not written yet.
            os.posix_fadvise(descriptor, start, 0, os.POSIX_FADV_DONTNEED)
        return self._is_synced

    def sync_content(self, descriptor: int) -> None:
        """Make the content of an open file durable."""
        if self._is_synced:
            os.fsync(descriptor)

    def sync_folders(self, places: Iterable[str]) -> None:
        """Make the directory entries of these files durable.

        Raises:
            OutOfSpace: the disk is full. StorageError: any other failure.
        """
        if self._is_synced:
            with file_errors():
                self._folders.sync(sorted({place.rpartition("/")[0] for place in places}))

    def link(self, known: str, study_uid: str, series_uid: str, sop_uid: str) -> str:
        """Give a file a second place, as `IncomingFile.keep` would; its entry is not yet durable.

        Raises:
            InvalidUid: a UID is none. StorageError: the file is gone, or other failures.
        """
        chance = new_chance()
        place = self.new_place(study_uid, series_uid, sop_uid, chance)
        temporary = self.incoming_name(chance)
        with file_errors():
            os.link(self.absolute(known), temporary)
            self.move_in(temporary, place)
        return place

    def close(self) -> None:
        """Hold nothing open any more; a later use opens it again."""
        self._folders.close()

    def set_aside(self, place: str) -> str:
        """Give a kept file a second place in the quarantine, durably, and return it.

        It is discarded at its first place only when a row names the second one.

        Raises:
            StorageError: the file is gone, or other failures.
        """
        aside = f"quarantine/{new_chance()}.dcm"
        with file_errors():
            os.link(self.absolute(place), self.absolute(aside))
        self.sync_folders((aside,))
        return aside

    def discard(self, relative: PurePosixPath | str) -> None:
        """Delete one file; one that is gone already is fine."""
        with file_errors():
            self.absolute(relative).unlink(missing_ok=True)

    def sweep_incoming(self, older_than: datetime | None) -> int:
        """Delete what crashed receivers left behind before `older_than`; how many files.

        None, where no receiver runs: all of it, but for what a receipt names.
        """
        swept, paths = 0, set(self.incoming_dir.iterdir())
        acknowledged = map(_chance_of, paths_in_receipts(self.data_dir))
        for path in paths.difference(map(Path, map(self.incoming_name, acknowledged))):
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
        """Whether less than `limit_mib` is free, or was a moment ago."""
        now = time.monotonic()
        if now >= self._look_again_at:
            self._free_mib = self.free_mib()
            self._look_again_at = now + _LOOK_AGAIN_S
        return self._free_mib < limit_mib
