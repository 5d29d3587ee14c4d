"""A disk that is really full: writes to it fail in the kernel."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE_MIB = 6
# The limit holds for the captured log and for the database of this process, too.
LEAST_LIMIT_KIB = 64


class SmallDisk:
    """A folder with room for `SIZE_MIB` at first: a tmpfs, or where that may not be mounted,
    one in which this process may write small files only.
    """

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder = folder
        self._is_mounted = is_mounted

    @contextlib.contextmanager
    def filled(self, *, left_kib: int) -> Iterator[None]:
        """Have no file grow by more than `left_kib` within the block."""
        if self._is_mounted:
            yield from self._filled(left_kib)
        else:
            yield from _short_files(left_kib)

    def _filled(self, left_kib: int) -> Iterator[None]:
        ballast = self.folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - (left_kib << 10))
        yield
        ballast.unlink()


def _short_files(left_kib: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(left_kib, LEAST_LIMIT_KIB) << 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(folder: Path, *, mount: bool) -> Iterator[SmallDisk]:
    """Make the disk, and take it away at the end; without `mount` by the limit in any case."""
    folder.mkdir()
    is_mounted = mount and _succeeds(
        "mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)
    )
    try:
        yield SmallDisk(folder, is_mounted=is_mounted)
    finally:
        if is_mounted:
            assert _succeeds("umount", str(folder))


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
