"""The file of an instance while it comes in, and the one that waits for the next instance."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from storage.durable import file_errors
from storage.reserved_space import UsualSize

if TYPE_CHECKING:
    from storage.instance_files import InstanceFiles

_SPARE_LASTS_S = 5.0
_WORTH_BEGINNING_BYTES = 1 << 18
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def new_chance() -> str:
    """Return what no other file has in its name, on its way in or at its place."""
    return os.urandom(16).hex()


def _nothing() -> None:
    """There is nothing to do meanwhile."""


class MadeFile(NamedTuple):
    """A file in incoming/ that is made and open already."""

    chance: str
    descriptor: int
    reserved_bytes: int


class IncomingFile:
    """A private file for one instance on its way in; see `InstanceFiles.open_incoming`.

    Written without a buffer: what `write` has taken is with the operating system.
    """

    __slots__ = (
        "_begun_bytes",
        "_files",
        "_is_kept",
        "_name",
        "chance",
        "descriptor",
        "reserved_bytes",
        "size_bytes",
    )

    def __init__(
        self, files: InstanceFiles, at_least_bytes: int = 0, made: MadeFile | None = None
    ) -> None:
        self.chance = new_chance() if made is None else made.chance
        self._name = files.incoming_name(self.chance)
        self._files = files
        self._is_kept = False
        self.size_bytes = self._begun_bytes = 0
        if made is not None:
            self.descriptor, self.reserved_bytes = made.descriptor, made.reserved_bytes
            return
        self.descriptor = os.open(self._name, _NEW_FILE, 0o600)
        self.reserved_bytes = files.reserve(self.descriptor, at_least_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with file_errors(only_full=True):
            try:
                if error is not None:
                    raise error
            finally:
                self.close()

    @property
    def path(self) -> Path:
        """Where it lies until it is kept."""
        return Path(self._name)

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes; raises OSError, so that the caller can tell its number."""
        written = os.write(self.descriptor, content)
        while written < len(content):
            written += os.write(self.descriptor, memoryview(content)[written:])
        self.size_bytes += written
        if self.size_bytes - self._begun_bytes >= _WORTH_BEGINNING_BYTES:
            self._files.begin_sync(self.descriptor, self._begun_bytes)
            self._begun_bytes = self.size_bytes

    def place(self, study_uid: str, series_uid: str, sop_uid: str) -> str:
        """Return where `leave` will say it belongs; raises InvalidUid."""
        return self._files.new_place(study_uid, series_uid, sop_uid, self.chance)

    def rewind(self) -> None:
        """It was written through its descriptor, or not, and will be written once more, or not.

        What comes may be another instance, and shorter: nothing of this one may stay.
        """
        if os.lseek(self.descriptor, 0, os.SEEK_CUR):
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            # What is reserved goes with it.
            os.ftruncate(self.descriptor, 0)
            self.reserved_bytes = 0

    def leave(
        self,
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        meanwhile: Callable[[], None] = _nothing,
    ) -> str:
        """Keep it where it is; return its place, to which `InstanceFiles.bring_in` moves it.

        Its content and its directory entry are as safe there as the durability asks. `meanwhile` is
        as for `keep`.

        Raises:
            InvalidUid: a UID is none. OSError: it could not be cut to its length.
            OutOfSpace: the disk is full. StorageError: it could not be synced.
        """
        place = self.place(study_uid, series_uid, sop_uid)
        self._give_back()
        if self._files.is_synced:
            with file_errors():
                self._sync(meanwhile)
            self._files.sync_folders((f"incoming/{self.chance}",))
        self._is_kept = True
        return place

    def keep(
        self,
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        meanwhile: Callable[[], None] = _nothing,
    ) -> str:
        """Move the file to its place, its content durable; the place is relative to the data dir.

        Where the disk has to be waited for, `meanwhile` is called once it has begun.

        The directory entry is durable only after `InstanceFiles.sync_folders`, which the recorder
        calls for many files at once; until a row names it, the file is nobody's and may be swept.
        Nobody else has this place: even the same bytes received twice lie in two files, so a
        duplicate can be discarded without a look at what else there is.

        Raises:
            InvalidUid: a UID is none. OutOfSpace: the disk is full. StorageError: other failures.
        """
        place = self._files.new_place(study_uid, series_uid, sop_uid, self.chance)
        with file_errors():
            self._files.move_in(self._name, place)
            self._is_kept = True
            try:
                self._give_back()
                # After the move: a journalling file system writes both by one commit.
                self._sync(meanwhile)
            except BaseException:
                self._files.discard(place)
                raise
        return place

    def _sync(self, meanwhile: Callable[[], None]) -> None:
        if self._files.begin_sync(self.descriptor, self._begun_bytes):
            meanwhile()
        self._files.sync_content(self.descriptor)

    def _give_back(self) -> None:
        """Give back what was reserved and is not needed."""
        if self.reserved_bytes > self.size_bytes:
            os.ftruncate(self.descriptor, self.size_bytes)

    def close(self) -> None:
        """Close the file and delete it unless it was kept."""
        # A full disk may show itself in close(), too. The file must go anyway.
        try:
            os.close(self.descriptor)
        finally:
            if not self._is_kept:
                self.path.unlink(missing_ok=True)


class SpareFile:
    """The file of an association's next instance, made while its sender is busy with that one.

    To make a file takes about a tenth of the time that an instance takes in all.
    """

    def __init__(self, files: InstanceFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._file: IncomingFile | None = None
        self._taken: IncomingFile | None = None
        self._usual = UsualSize()
        self._good_until_s = 0.0

    def prepare(self) -> None:
        """Have a file ready; where none can be made, the next instance meets the reason itself."""
        if self._taken is not None:
            self._usual.note(self._taken.size_bytes)
            self._taken = None
        if self._file is None:
            with suppress(OSError):
                self._file = IncomingFile(self._files, self._usual.at_least_bytes())
                self._good_until_s = self._clock() + _SPARE_LASTS_S

    def taken(self) -> IncomingFile | None:
        """Hand the file over; None if there is none, or one so old that a sweep may have met it."""
        file, self._file = self._file, None
        if file is not None and self._clock() > self._good_until_s:
            _drop(file)
            return None
        self._taken = file
        return file

    def put_back(self, file: IncomingFile) -> None:
        """Keep a file for the instance that it was taken for: that begins once more."""
        self._taken = None
        self._keep(file)

    def to_reserve(self) -> int:
        """Return how much to reserve for the next file that is made."""
        return self._files.to_reserve(self._usual.at_least_bytes())

    def came_back(self, made: MadeFile | None, sizes: Iterable[int]) -> None:
        """Files of these sizes were taken, one after another, and the next one is `made`.

        It may have been begun, and begins once more.
        """
        self._taken = None
        for size_bytes in sizes:
            self._usual.note(size_bytes)
        if made is not None:
            self._good_until_s = self._clock() + _SPARE_LASTS_S
            self._keep(IncomingFile(self._files, made=made))

    def close(self) -> None:
        """Delete a file that nobody took."""
        file, self._file = self._file, None
        if file is not None:
            _drop(file)

    def _keep(self, file: IncomingFile) -> None:
        """Keep a file that may have been begun; what cannot be emptied goes."""
        try:
            file.rewind()
        except OSError:
            _drop(file)
        else:
            self._file = file


def _drop(file: IncomingFile) -> None:
    # What cannot be deleted now is left to the sweep: no association hangs on an empty file.
    with suppress(OSError):
        file.close()
