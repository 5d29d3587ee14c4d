"""Files and rows of received instances, made safe together: many instances, one transaction.

Calls from many threads are gathered: while one transaction commits, what arrives meanwhile waits
and becomes the next one. A call that is alone waits for nobody; there is no timer. The thread
whose call finds no transaction under way leads: it records the queue and hands the lead on.

With receipts the next instance of a series that is known, over an association that has brought some
of its study, waits for no row: `storage.late_rows` writes it soon.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import IdentityConflict, OutOfSpace, StorageError, unexpected
from storage.instance_files import InstanceFiles
from storage.instances import record_instances
from storage.known_series import KnownSeries
from storage.late_rows import LateRow, LateRows, Told
from storage.quarantine import quarantine
from storage.receipts import LentPage, Receipts, await_settled
from storage.record_queue import Call, Queued, next_batch
from storage.unsettled_files import UnsettledFiles

_PATIENCE_S = 1.0


def _untold(_outcome: str) -> None:
    """Tell nobody."""


class InstanceRecorder:
    """Records what a process receives; one object serves all of its threads.

    The file of an instance is the recorder's from the call of `record` on.
    """

    def __init__(
        self, db: Database, files: InstanceFiles, receipts: Receipts | None = None
    ) -> None:
        self._db = db
        self._files = files
        self._known = KnownSeries()
        self._unsettled = UnsettledFiles(db, files)
        self._lock = threading.Lock()
        self._queue: deque[Queued] = deque()
        self._is_led = False
        self._late = None if receipts is None else LateRows(db, files, receipts, self._write_owed)

    def record(self, incoming: IncomingInstance, told: Told = _untold) -> StoreOutcome:
        """Record one instance that lies at its place (`IncomingFile.keep`); wait until it is safe.

        When this returns, the file with its directory entry and the row, or with receipts a
        receipt, are as safe as the durability asks; only then may 0x0000 be answered. The file of a
        DUPLICATE is gone, or will be. `told` hears what it came to, once, from any thread.

        Raises:
            Quarantined: it contradicts what is known; file and row are safe in the quarantine.
            DatabaseUnavailable: try again later; the file goes with a later `settle`.
            OutOfSpace: the disk is full; the file is gone. StorageError: the same for any other
                failure.
        """
        if not self._are_synced and self.acknowledged(incoming, told) is not None:
            return StoreOutcome.STORED
        result = self._result(Call(incoming))
        if result is StoreOutcome.DUPLICATE:
            self._files.discard(incoming.path)
        if isinstance(result, StoreOutcome):
            told(result.value)
            return result
        raise self._refusal(incoming, result)

    def expects(self, incoming: IncomingInstance) -> bool:
        """Whether `acknowledged` may give a receipt; it need not, when it is asked."""
        late = self._late
        return late is not None and late.may_wait and self._known.expects(incoming)

    def acknowledged(self, incoming: IncomingInstance, told: Told = _untold) -> LateRow | None:
        """Give a receipt, where nothing but the usual can become of it; None: `record` it.

        Its digest is not needed yet: it is told to the row, or else taken of the file. That is one
        of `IncomingFile.leave`, with `durability: fsync`: another's entry is not on the disk yet.
        """
        if self._late is None or not self._known.expects(incoming):
            return None
        with self._lock:
            row = self._late.acknowledged(incoming, told)
        # Without the lock: others write their receipts meanwhile, and one sync may do for all.
        if row is None or not self._late.is_durable(row):
            return None
        with self._lock:
            self._queue.append(row)
        return row

    def lend(self, likes: Iterable[IncomingInstance], most: int) -> LentPage | None:
        """Lend a page, to write receipts of instances there before all of them is known.

        They come over the association of `likes` and belong to one of the series of these; `most`
        of them, or fewer. None: the next one is to be recorded. `came_back` has to follow, soon.
        """
        if self._late is None or self._are_synced:
            return None
        if not all(map(self._known.expects, likes)):
            return None
        with self._lock:
            return self._late.lend(most)

    def came_back(
        self,
        lent: LentPage,
        given: Sequence[tuple[IncomingInstance, str]],
        told: Told,
        *,
        is_spoilt: bool = False,
    ) -> list[LateRow]:
        """Receipts are written for these: as after `acknowledged`. "" is a digest not known yet.

        `is_spoilt`: another receipt was perhaps written in part.
        """
        with self._lock:
            rows = self._lending.came_back(lent, given, told, is_spoilt=is_spoilt)
            self._queue.extend(rows)
        return rows

    def write_late(self) -> None:
        """Write the rows of all that is acknowledged by now; what has none then is tried again.

        Raises:
            StorageError: why some have none, once for each reason; a database away is told to
                senders.
        """
        self._write_owed()
        failure = None if self._late is None else self._late.new_failure()
        if failure is not None:
            raise failure

    @property
    def _are_synced(self) -> bool:
        return self._late is not None and self._late.are_synced

    @property
    def _lending(self) -> LateRows:
        if self._late is None:
            raise StorageError("nothing was lent")
        return self._late

    def _write_owed(self) -> None:
        if self._late is not None and self._late.are_owed:
            self._result(Call(None))

    def await_rows(self) -> None:
        """Wait, for a moment at most, for the rows of all that any receiver has acknowledged."""
        if self._late is not None:
            self.write_late()
            await_settled(self._files.data_dir, _PATIENCE_S)

    def settle(self) -> None:
        """Delete the files of calls that met a silent database, unless a row names them.

        Raises:
            DatabaseUnavailable: still no answer; the rest stays remembered.
        """
        self._unsettled.settle()

    def close(self) -> None:
        """Give back what is held open, when nothing more comes in."""
        if self._late is not None:
            with suppress(StorageError):  # receipts stay for whoever starts next
                self.write_late()
            with self._lock:
                self._late.close()
        self._files.close()

    def _result(self, call: Call) -> StoreOutcome | Exception:
        """Queue a call and wait for its turn, or take the lead.

        What could not be written comes first: it may be an older version of what comes now.
        """
        with self._lock:
            if self._late is not None:
                self._queue.extendleft(reversed(self._late.to_try_again()))
            self._queue.append(call)
            has_lead, self._is_led = not self._is_led, True
        if not has_lead:
            call.waiting.acquire()
        while call.result is None:
            self._lead()
            call.waiting.acquire()
        return call.result

    def _refusal(self, incoming: IncomingInstance, error: Exception) -> Exception:
        """See to the file of an instance that was not recorded; what to tell the caller."""
        try:
            if isinstance(error, IdentityConflict):
                return quarantine(self._db, self._files, incoming, error)
            if isinstance(error, OutOfSpace):
                self._files.discard(incoming.path)
                return error
        except StorageError as second:
            error = second
        # Whether a row names the file is known for sure only when the database answers again.
        self._unsettled.add(incoming.path)
        return error

    def _lead(self) -> None:
        """Record the front of the queue, and hand the lead on: perhaps to the own call.

        Never raises, for that call may still be queued: its caller has to stay until its end.
        """
        with self._lock:
            if self._late is not None:
                self._late.turn()
            may_wait = self._late is not None and self._late.may_wait
            batch = next_batch(self._queue, may_rows_wait=may_wait)
        results: Sequence[StoreOutcome | Exception]
        try:
            results = self._recorded(batch)
        except BaseException as error:  # noqa: BLE001 -- each caller gets it; nobody waits for ever
            results = [unexpected(error)] * len(batch)
        try:
            self._write_down(batch, results)
        finally:
            self._hand_on(batch, results)

    def _write_down(
        self, batch: Sequence[Queued], results: Sequence[StoreOutcome | Exception]
    ) -> None:
        # Before the calls end: whoever waits for late rows may count on them.
        for row, result in zip(batch, results, strict=True):
            if isinstance(row, LateRow) and self._late is not None:
                self._late.written(row, result)

    def _hand_on(
        self, batch: Sequence[Queued], results: Sequence[StoreOutcome | Exception]
    ) -> None:
        with self._lock:
            following = next((one for one in self._queue if isinstance(one, Call)), None)
            self._is_led = following is not None
        if following is not None:
            following.waiting.release()
        for call, result in zip(batch, results, strict=True):
            if isinstance(call, Call):
                call.result = result
                call.waiting.release()

    def _recorded(self, batch: Sequence[Queued]) -> Sequence[StoreOutcome | Exception]:
        given = [self._given(one) for one in batch]
        found = iter(self._of([one for one in given if isinstance(one, IncomingInstance)]))
        return [next(found) if isinstance(one, IncomingInstance) else one for one in given]

    def _given(self, one: Queued) -> IncomingInstance | StoreOutcome | StorageError:
        """Return what is to be recorded, or what it has come to without."""
        if isinstance(one, Call):
            return one.incoming or StoreOutcome.STORED
        try:
            return one.completed(self._files)
        except StorageError as error:
            return error

    def _of(self, incoming: list[IncomingInstance]) -> Sequence[StoreOutcome | Exception]:
        if not incoming:
            return []
        try:
            self._files.sync_folders(one.path for one in incoming)
        except StorageError as error:
            return [error] * len(incoming)
        return record_instances(self._db, incoming, self._known, self._files)
