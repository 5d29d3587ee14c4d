"""Rows that are written after the answer: what was acknowledged by a receipt.

They are written a moment after the first of them waits, or sooner where somebody waits for them.
One that cannot be written is tried again, and until it has its row nothing more is acknowledged so:
senders then hear that the database is away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.acknowledged import acknowledged, settled
from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import (
    DatabaseUnavailable,
    OutOfSpace,
    Quarantined,
    StorageError,
    UnreadableFile,
)
from storage.instance_files import InstanceFiles
from storage.receipts import LentPage, Page, Receipts

GATHER_S = 0.05
MOST_QUEUED = 127
"""With the call that has to wait they make one batch of the recorder."""

Told = Callable[[str], None]
"""Hears what an instance came to: a `StoreOutcome`, or "quarantined"."""


@dataclass(slots=True, eq=False)
class LateRow:
    """An instance that was acknowledged, the page that holds its receipt, and who wants to know.

    Its digest may be told later, when its file is at its place: for neither has the sender to wait.
    """

    incoming: IncomingInstance
    page: Page
    told: Told
    dataset_digest: str = ""
    is_moved: bool = False
    is_unreadable: bool = False
    has_failed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all is known that the row says."""
        return self.incoming.is_late

    @property
    def may_hold_back(self) -> bool:
        """Whether it waits for what others need, too: the database, or a disk that takes files.

        A file that cannot be read is the matter of its own row alone.
        """
        return not self.is_unreadable and (self.is_complete or not self.is_moved)

    def completed(self, files: InstanceFiles) -> IncomingInstance:
        """Return all that the row says; what nobody has done yet for that is done now.

        Raises:
            StorageError: the file cannot be moved or read, or is not whole.
        """
        if not self.is_complete:
            told = self.dataset_digest or self.incoming.dataset_digest
            if not told:
                files.bring_in(self.incoming.path)
            self.is_moved = True
            self.incoming = acknowledged(files, self.incoming, told)
        return self.incoming


class LateRows:
    """The late rows of one process; `acknowledged`, `turn` and `close` under its owner's lock.

    `write` is called by a thread of its own when rows have waited long enough.
    """

    def __init__(
        self, db: Database, files: InstanceFiles, receipts: Receipts, write: Callable[[], None]
    ) -> None:
        self._db = db
        self._files = files
        self._receipts = receipts
        self._write = write
        self._lock = threading.Lock()
        self._queued = 0
        self._is_behind = False
        self._failure: StorageError | None = None
        self._last_told = ""
        self._not_written: list[LateRow] = []
        self._is_waiting = threading.Event()
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None

    @property
    def are_synced(self) -> bool:
        """Whether a receipt is good only when `is_durable` says so."""
        return self._receipts.are_synced

    @property
    def may_wait(self) -> bool:
        """Whether one more row may be put off."""
        is_over = self._is_behind or self._closing.is_set()
        return not is_over and self._queued < MOST_QUEUED

    @property
    def are_queued(self) -> bool:
        """Whether any row waits for the next transaction."""
        return self._queued > 0

    @property
    def are_owed(self) -> bool:
        """Whether any row waits, be it for another try."""
        return self.are_queued or bool(self._not_written)

    def acknowledged(self, incoming: IncomingInstance, told: Told) -> LateRow | None:
        """Give a receipt and return what is to be queued; None: the row has to come first."""
        if not self.may_wait:
            return None
        try:
            self._begin_writing()
            with self._lock:
                page = self._receipts.add(incoming)
                self._queued += 1
        except (OSError, RuntimeError):
            return None  # whatever it is, the long way meets it, and says so
        self._is_waiting.set()
        return LateRow(incoming, page, told)

    def is_durable(self, row: LateRow) -> bool:
        """Wait for the disk, without the owner's lock; False: the row has to come first."""
        if not self._receipts.are_synced:
            return True
        try:
            row.page.sync()
        except OSError:
            self._take_back(row.page)
            return False
        with self._lock:
            self._receipts.came_back(row.page)
        self._is_waiting.set()
        return True

    def lend(self, most: int) -> LentPage | None:
        """Lend a page for receipts that somebody else writes, `most` of them, or fewer.

        None: the next row has to come first. `came_back` follows.
        """
        # Others are to find room, too.
        places = min(most, (MOST_QUEUED + 1 - self._queued) // 2)
        if places < 1 or not self.may_wait:
            return None
        try:
            self._begin_writing()
            with self._lock:
                lent = self._receipts.lend(places)
                self._queued += places
        except (OSError, RuntimeError):
            return None
        return lent

    def came_back(
        self,
        lent: LentPage,
        given: Sequence[tuple[IncomingInstance, str]],
        told: Told,
        *,
        is_spoilt: bool,
    ) -> list[LateRow]:
        """Return what is to be queued: receipts were given for these instances, with digests."""
        unused = lent.places - len(given)
        with self._lock:
            self._queued -= unused
            self._receipts.came_back(lent.page, unused, is_spoilt=is_spoilt)
            if unused:
                self._is_behind = self._is_behind and self._holds_back
        if given and not self._is_waiting.is_set():
            self._is_waiting.set()
        return [LateRow(incoming, lent.page, told, digest) for incoming, digest in given]

    def turn(self) -> None:
        """Write later receipts to a new page: the one before can go with its last row."""
        with self._lock:
            self._receipts.turn()

    def written(self, row: LateRow, result: StoreOutcome | Exception) -> None:
        """A row was written, or could not be: then it will be tried again."""
        try:
            if not isinstance(result, StoreOutcome | StorageError):
                raise StorageError("a row was not written")
            outcome = settled(self._db, self._files, row.incoming, result)
        except Exception as error:  # noqa: BLE001 -- what was acknowledged is not let go
            self._owe(row, error)
            return
        with self._lock:
            self._queued -= 1
            self._receipts.settled(row.page)
            self._is_behind = self._is_behind and self._holds_back
        row.told("quarantined" if isinstance(outcome, Quarantined) else outcome.value)

    def new_failure(self) -> StorageError | None:
        """Return why rows could not be written, once for each reason; a database away is none."""
        with self._lock:
            failure, self._failure = self._failure, None
        return failure

    def to_try_again(self) -> list[LateRow]:
        """Return the rows that could not be written, for the queue."""
        with self._lock:
            rows, self._not_written = self._not_written, []
            self._queued += len(rows)
        return rows

    def close(self) -> None:
        """Write no more: whoever starts next records what has no row yet."""
        self._closing.set()
        self._is_waiting.set()
        with self._lock:
            self._receipts.close()

    @property
    def _holds_back(self) -> bool:
        """Whether anything waits that may hold back others; only with the lock."""
        return self._queued > 0 or any(row.may_hold_back for row in self._not_written)

    def _take_back(self, page: Page) -> None:
        with self._lock:
            self._queued -= 1
            self._receipts.came_back(page, 1, is_spoilt=True)
            self._is_behind = self._is_behind and self._holds_back

    def _owe(self, row: LateRow, error: Exception) -> None:
        with self._lock:
            self._queued -= 1
            self._not_written.append(row)
            row.has_failed, row.is_unreadable = True, isinstance(error, UnreadableFile)
            self._is_behind = row.may_hold_back or (self._is_behind and self._holds_back)
            # Only texts of ours are known to hold no patient data.
            reason = str(error) if isinstance(error, StorageError) else type(error).__name__
            text = f"a late row was not written: {reason}"
            if not isinstance(error, DatabaseUnavailable | OutOfSpace) and text != self._last_told:
                self._last_told = text
                self._failure = StorageError(text)
                self._failure.__cause__ = error

    def _begin_writing(self) -> None:
        """Start the writing thread; raises RuntimeError, where there can be no more threads."""
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(target=self._run, name="late-rows", daemon=True)
            self._writer.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._is_waiting.wait()
            self._closing.wait(GATHER_S)
            self._is_waiting.clear()
            self._write()
