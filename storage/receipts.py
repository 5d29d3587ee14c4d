"""Receipts: what was acknowledged and has no row yet. They outlive the process that wrote them.

    <data_dir>/receipts/<random>.receipts      a page: lines of `storage.receipt_text`

An instance is acknowledged when its file and its receipt are with the operating system, or with
`durability: fsync` on the disk; rows are written for many instances together, a moment later. A
page is deleted, or blanked (`storage.synced_pages`), when all of its instances have their rows.
While its process lives, a lock (flock) is on it; a page without one is what a killed process left
behind (`storage.abandoned_receipts`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from storage.dicom_records import IncomingInstance
from storage.durable import file_errors, make_private_dir
from storage.receipt_text import ReceiptWriter, receipt_paths

FOLDER = "receipts"
SUFFIX = ".receipts"
_CLOSED = -1
_LOOK_AGAIN_S = 0.005
_FRESH_S = 5.0
_HEAD_BYTES = 16
_NEW_PAGE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


class Page:
    """One file of receipts, locked by this process; `unsettled` counts those without a row."""

    flags = _NEW_PAGE

    def __init__(self, folder: Path) -> None:
        name = os.urandom(16).hex()
        # Nobody looks at it under this name: it is never seen without its lock.
        made = folder / f".{name}.part"
        self._path = folder / f"{name}{SUFFIX}"
        self._descriptor = os.open(made, self.flags, 0o600)
        self.unsettled = self.lent = 0
        self._is_closing = False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            made.rename(self._path)
        except BaseException:
            os.close(self._descriptor)
            made.unlink(missing_ok=True)
            raise

    def write(self, line: bytes) -> None:
        """Append a receipt; raises OSError, and then this page takes no more of them."""
        if self.lent:
            # Whoever has the page may just have failed, and left half a line there.
            line = b"\n" + line
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.unsettled += 1

    def sync(self) -> None:
        """Bring to the disk what is to be there; raises OSError."""

    @property
    def descriptor(self) -> int:
        """To write whole lines by one call each, as long as the page is lent."""
        return self._descriptor

    def close(self) -> None:
        """Give the lock back; the file goes, unless somebody has to see to its receipts.

        A page that is lent is closed when it has come back.
        """
        if self.lent:
            self._is_closing = True
            return
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor == _CLOSED:
            return
        with suppress(OSError):  # what stays says once more what is known already
            if not self.unsettled:
                self._path.unlink()
        with suppress(OSError):
            os.close(descriptor)

    def close_if_due(self) -> None:
        """Close a page that was to be closed while it was lent."""
        if self._is_closing and not self.lent:
            self.close()


class LentPage(NamedTuple):
    """A page, and how many receipts somebody else may write there."""

    page: Page
    places: int


class Pages:
    """Makes the pages of one process."""

    are_synced = False
    """Whether a receipt is good only after the `sync` of its page, which is lent until then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self) -> Page:
        """Return a page without receipts; raises OSError."""
        return Page(self._folder)

    def close(self) -> None:
        """Keep no pages for later."""


class Receipts:
    """The pages of one process; its owner sees to it that one thread at a time calls."""

    def __init__(self, data_dir: Path, pages: type[Pages] = Pages) -> None:
        folder = data_dir / FOLDER
        self._writer = ReceiptWriter()
        self._page: Page | None = None
        self._turned: set[Page] = set()
        with file_errors():
            make_private_dir(folder, FOLDER)
        self._pages = pages(folder)
        self.are_synced = pages.are_synced

    def add(self, incoming: IncomingInstance) -> Page:
        """Write a receipt, and return the page that has it; raises OSError, then there is none."""
        line = self._writer.line(incoming)
        page = self._page = self._page or self._pages.new()
        try:
            page.write(line)
        except OSError:
            # It may end in half a line, to which nothing must be added.
            self.turn()
            raise
        return page

    def lend(self, places: int) -> LentPage:
        """Lend a page for so many receipts: until it has come back, they count as there.

        Raises OSError: there is no page.
        """
        page = self._page = self._page or self._pages.new()
        page.unsettled += places
        page.lent += 1
        return LentPage(page, places)

    def came_back(self, page: Page, unused: int = 0, *, is_spoilt: bool = False) -> None:
        """A page has come back with all receipts but `unused`; `is_spoilt`: and half a one."""
        if is_spoilt and page is self._page:
            self.turn()
        page.lent -= 1
        for _ in range(unused):
            self.settled(page)
        page.close_if_due()

    def turn(self) -> None:
        """Begin a new page with the next receipt."""
        page, self._page = self._page, None
        if page is None:
            return
        if page.unsettled:
            self._turned.add(page)
        else:
            page.close()

    def settled(self, page: Page) -> None:
        """One instance of a page has its row."""
        page.unsettled -= 1
        if not page.unsettled:
            self._turned.discard(page)
            self._page = None if page is self._page else self._page
            page.close()

    def close(self) -> None:
        """Write no more; what has no row is left to whoever looks for abandoned pages."""
        self.turn()
        self._pages.close()
        while self._turned:
            self._turned.pop().close()


def pages(data_dir: Path) -> tuple[Path, ...]:
    """Return the pages that are there, of all processes."""
    return tuple(sorted((data_dir / FOLDER).glob(f"*{SUFFIX}")))


def await_settled(data_dir: Path, timeout_s: float) -> None:
    """Wait until what other processes have just acknowledged has its rows; not for ever.

    Older pages wait for a database that is away, or for a person: so does nobody else.
    """
    deadline = time.monotonic() + timeout_s
    waiting = {page: _head(page) for page in pages(data_dir) if _is_fresh(page)}
    while waiting := {page: head for page, head in waiting.items() if _stays(page, head)}:
        if time.monotonic() >= deadline:
            return
        time.sleep(_LOOK_AGAIN_S)


def _stays(page: Path, head: bytes) -> bool:
    """Whether a page still begins with that receipt: it may be blanked, and used once more."""
    return bool(head) and _head(page) == head


def _head(page: Path) -> bytes:
    """Return how a page begins, which the check sum of its first receipt makes its own."""
    with suppress(FileNotFoundError), page.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES).strip()
    return b""


def _is_fresh(page: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - page.stat().st_mtime < _FRESH_S
    return False


def paths_in_receipts(data_dir: Path) -> frozenset[str]:
    """Return the paths of all instances that a receipt names: a row may still be missing."""
    with file_errors():
        return frozenset(_all_paths(data_dir))


def _all_paths(data_dir: Path) -> Iterator[str]:
    for page in pages(data_dir):
        with suppress(FileNotFoundError):  # settled in between
            yield from receipt_paths(page.read_bytes())
