"""Pages of receipts that outlive a power cut, too (`durability: fsync`).

A page is made of blanks, and is on the disk with its directory entry, before the first receipt is
written over them: to sync a receipt, a journalling file system then writes its bytes, and has
nothing to commit. When all of its instances have their rows, a page is blanked and waits for the
next receipts. The blanks may reach the disk at any time: receipts that a power cut brings back say
what is known already.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from storage.durable import file_errors, sync_dir
from storage.receipts import Page, Pages

PAGE_BYTES = 1 << 17
"""Enough for all that may wait for their rows, unless their headers are very long."""

_MOST_SPARE = 2
_BLANK = b" "


class SyncedPage(Page):
    """A page that counts as lent from a receipt's `write` until its `sync`."""

    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

    def __init__(self, folder: Path, pages: SyncedPages) -> None:
        super().__init__(folder)
        self._pages = pages
        self._lock = threading.Lock()
        self._end = self._synced_bytes = 0
        self._is_lost = False
        try:
            self._fill(PAGE_BYTES)
            os.fsync(self._descriptor)
            sync_dir(folder)
        except BaseException:
            super().close()
            raise

    def write(self, line: bytes) -> None:
        """Write a receipt, which is not safe before `sync`; raises OSError: the page is over."""
        end = self._end + len(line)
        if end > PAGE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            _write(self._descriptor, line, self._end)
        finally:
            # Not earlier: a thread that syncs meanwhile must not take the line for written.
            self._end = end
        self.unsettled += 1
        self.lent += 1

    def sync(self) -> None:
        """Return when all that was written before the call is on the disk; for many threads.

        Raises:
            OSError: it may not be. The system tells that once, so nothing more is believed here.
        """
        end = self._end
        with self._lock:
            if self._is_lost:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if self._synced_bytes < end:
                reached, self._is_lost = self._end, True
                os.fdatasync(self._descriptor)
                self._synced_bytes, self._is_lost = reached, False

    def close(self) -> None:
        """Blank the page and keep it for later, if it may be; else as any page."""
        is_of_use = not (self.unsettled or self.lent or self._is_lost)
        if not is_of_use or not self._pages.take_back(self):
            super().close()

    def blank(self) -> None:
        """Make it as good as new; raises OSError."""
        self._fill(self._end)
        self._end = self._synced_bytes = 0
        self._is_closing = False

    def _fill(self, size_bytes: int) -> None:
        _write(self._descriptor, _BLANK * size_bytes, 0)


class SyncedPages(Pages):
    """Makes such pages, and keeps those that are free again."""

    are_synced = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._spare: list[SyncedPage] = []
        self._is_closed = False
        # Whoever made the folder may have died before its entry was on the disk.
        with file_errors():
            sync_dir(folder.parent)

    def new(self) -> Page:
        """Return a page without receipts; raises OSError."""
        return self._spare.pop() if self._spare else SyncedPage(self._folder, self)

    def take_back(self, page: SyncedPage) -> bool:
        """Keep a page on which nothing is needed any more; False: it is not wanted."""
        if self._is_closed or len(self._spare) >= _MOST_SPARE:
            return False
        try:
            page.blank()
        except OSError:
            return False
        self._spare.append(page)
        return True

    def close(self) -> None:
        """Delete the pages that are free."""
        self._is_closed = True
        while self._spare:
            self._spare.pop().close()


def _write(descriptor: int, content: bytes, start: int) -> None:
    if os.pwrite(descriptor, content, start) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
