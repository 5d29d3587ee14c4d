"""The folders that files are kept in, held open: a file moves in by one call, one sync serves many.

A folder's own entry in its parents is brought to the disk once, by every process that meets it:
another one may have made it and died before it could. The open descriptor is what makes that
sound. When a sweep takes an empty folder away, moving into the old one fails, and the folder that
is made instead is a new one here, too.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from storage.durable import make_private_dir, sync_dir

MOST_OPEN = 64
TRIES = 3


class OpenFolder:
    """An open directory; closed when nobody uses it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.is_entered = False

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class OpenFolders:
    """Folders below a data directory, by their paths relative to it; for all threads."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._open: OrderedDict[str, OpenFolder] = OrderedDict()

    def move_in(self, path: Path | str, place: str) -> None:
        """Move a file to its place; missing folders are made, private.

        Raises:
            OSError: the file cannot be moved. StorageError: something that is no directory is in
                the way.
        """
        folder, _, name = place.rpartition("/")
        for tries_left in reversed(range(TRIES)):
            # Held until the file is there: another thread may forget it, and its number is reused.
            held = self._folder(folder)
            try:
                os.rename(path, name, dst_dir_fd=held.descriptor)
                return
            except FileNotFoundError:
                if not tries_left or not os.path.lexists(path):
                    raise
                # A sweep has taken the empty folder away.
                self._forget(folder)

    def held(self, path: str) -> OpenFolder:
        """Return a folder, which is made if it is missing; it is open as long as it is held.

        Raises:
            OSError, StorageError: as by `move_in`.
        """
        return self._folder(path)

    def sync(self, folders: Iterable[str]) -> None:
        """Bring the entries of these folders, and their own, to the disk."""
        for path in folders:
            folder = self._folder(path)
            if not folder.is_entered:
                for parent in PurePosixPath(path).parents:
                    sync_dir(self._data_dir / parent)
            os.fsync(folder.descriptor)
            folder.is_entered = True

    def close(self) -> None:
        """Hold no folder open any more; a later use opens it again."""
        with self._lock:
            self._open.clear()

    def _folder(self, path: str) -> OpenFolder:
        with self._lock:
            folder = self._open.get(path)
            if folder is None:
                folder = self._open[path] = self._opened(path)
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(path)
            return folder

    def _opened(self, path: str) -> OpenFolder:
        for tries_left in reversed(range(TRIES)):
            self._make(PurePosixPath(path))
            try:
                return OpenFolder(self._data_dir / path)
            except FileNotFoundError:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def _make(self, folder: PurePosixPath) -> None:
        path = self._data_dir
        for part in folder.parts:
            path = path / part
            name = part if path.parent == self._data_dir else f"a folder below {folder.parts[0]}"
            make_private_dir(path, name, is_synced=False)

    def _forget(self, path: str) -> None:
        with self._lock:
            self._open.pop(path, None)
