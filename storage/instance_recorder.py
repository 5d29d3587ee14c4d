"""Files and rows of received instances, made safe together: many instances, one transaction.

Calls from many threads are gathered: while one transaction commits, what arrives meanwhile waits
and becomes the next one. A call that is alone waits for nobody; there is no timer. The thread
whose call finds no transaction under way leads: it records the queue and hands the lead on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import IdentityConflict, OutOfSpace, StorageError
from storage.instance_files import InstanceFiles
from storage.instances import record_instances
from storage.known_series import KnownSeries
from storage.quarantine import quarantine
from storage.unsettled_files import UnsettledFiles

LARGEST_BATCH = 64


class _Call:
    """One call of `record`, and the lock on which its thread waits for its end or for the lead."""

    __slots__ = ("incoming", "result", "waiting")

    def __init__(self, incoming: IncomingInstance) -> None:
        self.incoming = incoming
        self.result: StoreOutcome | Exception | None = None
        self.waiting = threading.Lock()
        self.waiting.acquire()


class InstanceRecorder:
    """Records what a process receives; one object serves all of its threads.

    The file of an instance is the recorder's from the call of `record` on.
    """

    def __init__(self, db: Database, files: InstanceFiles) -> None:
        self._db = db
        self._files = files
        self._known = KnownSeries()
        self._unsettled = UnsettledFiles(db, files)
        self._lock = threading.Lock()
        self._queue: deque[_Call] = deque()
        self._is_led = False

    def record(self, incoming: IncomingInstance) -> StoreOutcome:
        """Record one instance that lies at its place (`IncomingFile.keep`); wait until it is safe.

        When this returns, the file with its directory entry and the row are as safe as the
        durability asks; only then may 0x0000 be answered. The file of a DUPLICATE is gone.

        Raises:
            Quarantined: it contradicts what is known; file and row are safe in the quarantine.
            DatabaseUnavailable: try again later; the file goes with a later `settle`.
            OutOfSpace: the disk is full; the file is gone. StorageError: the same for any other
                failure.
        """
        result = self._result(incoming)
        if result is StoreOutcome.DUPLICATE:
            self._files.discard(incoming.path)
        if isinstance(result, StoreOutcome):
            return result
        raise self._refusal(incoming, result)

    def settle(self) -> None:
        """Delete the files of calls that met a silent database, unless a row names them.

        Raises:
            DatabaseUnavailable: still no answer; the rest stays remembered.
        """
        self._unsettled.settle()

    def close(self) -> None:
        """Give back what is held open, when nothing more comes in."""
        self._files.close()

    def _result(self, incoming: IncomingInstance) -> StoreOutcome | Exception:
        """Queue one instance and wait for its turn, or take the lead."""
        call = _Call(incoming)
        with self._lock:
            self._queue.append(call)
            has_lead, self._is_led = not self._is_led, True
        if not has_lead:
            call.waiting.acquire()
        if call.result is None:
            self._lead()
        return call.result or StorageError("an instance was not recorded")

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
        """Record what is queued, the own call first, and hand the lead on."""
        with self._lock:
            size = min(len(self._queue), LARGEST_BATCH)
            batch = [self._queue.popleft() for _ in range(size)]
        try:
            results: Sequence[StoreOutcome | Exception] = self._recorded(batch)
        except BaseException as error:
            # Also for what is no Exception: nobody may wait for ever.
            text = f"recording failed: {type(error).__name__}"
            results = [StorageError(text) for _ in batch]
            raise
        finally:
            self._hand_on(batch, results)

    def _hand_on(self, batch: list[_Call], results: Sequence[StoreOutcome | Exception]) -> None:
        with self._lock:
            following = self._queue[0] if self._queue else None
            self._is_led = following is not None
        if following is not None:
            following.waiting.release()
        for call, result in zip(batch, results, strict=True):
            call.result = result
            call.waiting.release()

    def _recorded(self, batch: list[_Call]) -> Sequence[StoreOutcome | Exception]:
        incoming = [call.incoming for call in batch]
        try:
            self._files.sync_folders(one.path for one in incoming)
        except StorageError as error:
            return [error] * len(batch)
        return record_instances(self._db, incoming, self._known, self._files.former_digest)
