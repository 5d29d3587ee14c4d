"""One C-STORE request: from the wire to a durable file and a row.

0x0000 is answered only after the file, its directories and the row's transaction are on disk.
Nothing is decoded but the identity; the data set's bytes stay as they came.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import structlog

from config.settings import Settings
from node.receive.arriving_instance import ArrivingInstance
from node.receive.association_ends import AssociationOver
from node.receive.association_tracking import (
    AssociationTracker,
    TrackedAssociation,
    record_audit,
)
from node.receive.command_set import Command
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.file_meta import file_head
from node.receive.gathered_blocks import block_buffer, gathered
from node.receive.header_memory import HeaderMemory
from node.receive.instance_header import InstanceHeader
from node.receive.negotiation import AcceptedContext
from node.receive.slow_arrival import SlowArrival
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.errors import ConflictReason, DatabaseUnavailable, OutOfSpace, Quarantined
from storage.instance_files import IncomingFile, InstanceFiles, SpareFile, uid_tag
from storage.instance_recorder import InstanceRecorder
from storage.late_rows import LateRow
from storage.records import AlgorithmIdentity, ObjectKind

_OWN_MANUFACTURER = AlgorithmIdentity("", "", "", "").manufacturer
_RESULT_MODALITIES = frozenset(kind.modality for kind in ObjectKind)

_QUARANTINED = {
    ConflictReason.OTHER_PATIENT: StoreFailure.OTHER_PATIENT,
    ConflictReason.SERIES_IN_OTHER_STUDY: StoreFailure.OTHER_STUDY,
    ConflictReason.INSTANCE_IN_OTHER_STUDY: StoreFailure.OTHER_STUDY,
}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE request, the context it came on, and the data set that is yet to come.

    `max_bytes` is the largest data set that is taken; None: any. `spare` is a file for it that is
    made already, `buffer` the memory that its fragments are gathered in, `memory` what the
    association's instances before were like.
    """

    command: Command
    context: AcceptedContext
    data_set: Iterator[memoryview]
    tracked: TrackedAssociation
    max_bytes: int | None = None
    spare: SpareFile | None = None
    buffer: memoryview = field(default_factory=block_buffer)
    memory: HeaderMemory = field(default_factory=HeaderMemory)


@dataclass(frozen=True, slots=True)
class Handled:
    """Why an instance was not taken, or None; and what is to be done when that is answered."""

    failure: StoreFailure | None = None
    after: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class _Received:
    """A readable instance whose file is at its place."""

    header: InstanceHeader
    arriving: ArrivingInstance
    size_bytes: int
    transfer_syntax_uid: str
    path: str


class StoreHandler:
    """Answers C-STORE requests; one object serves all association threads."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        tracker: AssociationTracker,
        recorder: InstanceRecorder,
    ) -> None:
        self._disk_low_mib = settings.storage.disk_low_mib
        self._db = db
        self._files = files
        self._tracker = tracker
        self._recorder = recorder

    def spare_file(self) -> SpareFile:
        """Return the keeper of one association's next file."""
        return SpareFile(self._files)

    def handle(self, request: StoreRequest) -> Handled:
        """Take one instance, or tell why not; the data set is read to its end.

        Raises:
            AssociationOver: the association ended before the data set did.
        """
        tracked = request.tracked
        try:
            return Handled(after=self._store(request))
        except AssociationOver:
            raise
        except StoreRefused as refused:
            failure = refused.failure
            if failure is StoreFailure.DISK_FULL:
                self._disk_is_full(tracked, refused.__cause__)
        except Exception:  # noqa: BLE001 -- the request's edge: any answer beats none
            _log.error("store_failed", exc_info=True)
            failure = StoreFailure.PROCESSING_FAILURE
        for _ in request.data_set:
            pass
        tracked.count(failure.outcome)
        _log.warning(
            f"instance_{failure.outcome}",
            reason=failure.code,
            status=f"0x{failure.status:04X}",
            instance=uid_tag(request.command.sop_instance_uid.decode("latin-1")),
        )
        return Handled(failure)

    def _disk_is_full(self, tracked: TrackedAssociation, error: BaseException | None) -> None:
        """Tell it in log and audit trail, once an association: all of its instances fail."""
        if tracked.met_full_disk:
            return
        tracked.met_full_disk = True
        number = error.errno if isinstance(error, OSError) else errno.ENOSPC
        detail = {"error": errno.errorcode.get(number or 0, "EIO")}
        _log.error("disk_full", **detail)
        record_audit(
            self._db, event="disk_full", outcome="failure", caller=tracked.caller, detail=detail
        )

    def write_late_rows(self, *, of_all_receivers: bool = False) -> None:
        """Write the rows that were put off, before anybody counts on them; never raises."""
        try:
            if of_all_receivers:
                self._recorder.await_rows()
            else:
                self._recorder.write_late()
        except Exception:  # noqa: BLE001 -- an association's edge; they are tried again
            _log.error("late_rows_failed", exc_info=True)

    def _store(self, request: StoreRequest) -> Callable[[], None] | None:
        if self._files.is_low(self._disk_low_mib):
            raise StoreRefused(StoreFailure.DISK_LOW)
        _check_command(request)
        try:
            received, association_id = self._taken_in(request)
        except (OSError, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error
        incoming = _incoming_instance(received, request.tracked, association_id)
        return self._record(incoming, received.arriving, request.tracked)

    def _taken_in(self, request: StoreRequest) -> tuple[_Received, int]:
        with self._files.open_incoming(request.spare) as incoming:
            slow = SlowArrival(partial(self._tracker.will_bring, request.tracked))
            header, arriving = _receive(incoming, request, slow)
            association_id = self._association_id(request.tracked)
            received = _kept(incoming, header, arriving, request.context.transfer_syntax)
            return received, association_id

    def _association_id(self, tracked: TrackedAssociation) -> int:
        try:
            return self._tracker.row_of(tracked)
        except (DatabaseUnavailable, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error

    def _record(
        self, incoming: IncomingInstance, arriving: ArrivingInstance, tracked: TrackedAssociation
    ) -> Callable[[], None] | None:
        """Put an instance on record; return what is left to do then, when it is answered."""
        late = self._recorder.acknowledged(incoming, tracked.count)
        if late is not None:
            return partial(_tell_digest, late, arriving)
        digest = arriving.dataset_digest()
        try:
            self._recorder.record(replace(incoming, dataset_digest=digest), tracked.count)
        except Quarantined as kept:
            raise StoreRefused(_QUARANTINED[kept.reason]) from kept
        except DatabaseUnavailable as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error
        except OutOfSpace as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error
        return None


def _tell_digest(late: LateRow, arriving: ArrivingInstance) -> None:
    late.dataset_digest = arriving.dataset_digest()


def _check_command(request: StoreRequest) -> None:
    """Command set and presentation context must name the same SOP Class (PS3.4 B.2.3)."""
    command = request.command
    if command.sop_class_uid != request.context.abstract_syntax.encode("ascii"):
        raise StoreRefused(StoreFailure.SOP_CLASS_MISMATCH)
    if not command.sop_instance_uid:
        raise StoreRefused(StoreFailure.SOP_INSTANCE_MISMATCH)


def _receive(
    incoming: IncomingFile, request: StoreRequest, slow: SlowArrival
) -> tuple[InstanceHeader, ArrivingInstance]:
    """Write what comes; return whose it is, if it is what the command says."""
    command, transfer_syntax_uid = request.command, request.context.transfer_syntax
    head = file_head(command.sop_class_uid, command.sop_instance_uid, transfer_syntax_uid)
    arriving = ArrivingInstance(transfer_syntax_uid, request.memory)
    most = request.max_bytes
    fragments = request.data_set if most is None else _limited(request.data_set, most)
    blocks = gathered(head, fragments, request.buffer, slow.is_due, arriving.digest)
    for content, data_set in blocks:
        incoming.write(content)
        arriving.take(data_set)
        slow.look(arriving)
        if most is not None and arriving.inflated_bytes > most:
            raise StoreRefused(StoreFailure.TOO_LARGE)
    header = arriving.finish()
    _check_against_command(header, command)
    return header, arriving


def _limited(fragments: Iterator[memoryview], most: int) -> Iterator[memoryview]:
    received = 0
    for fragment in fragments:
        received += len(fragment)
        if received > most:
            raise StoreRefused(StoreFailure.TOO_LARGE)
        yield fragment


def _kept(
    incoming: IncomingFile,
    header: InstanceHeader,
    arriving: ArrivingInstance,
    transfer_syntax_uid: str,
) -> _Received:
    path = incoming.keep(
        header.study.study_instance_uid,
        header.series.series_instance_uid,
        header.sop_instance_uid,
        meanwhile=arriving.digest,
    )
    return _Received(header, arriving, incoming.size_bytes, transfer_syntax_uid, path)


def _check_against_command(header: InstanceHeader, command: Command) -> None:
    """Command set and data set must name the same SOP (PS3.4 B.2.3)."""
    if header.sop_class_uid.encode("ascii") != command.sop_class_uid:
        raise StoreRefused(StoreFailure.SOP_CLASS_MISMATCH)
    if header.sop_instance_uid.encode("ascii") != command.sop_instance_uid:
        raise StoreRefused(StoreFailure.SOP_INSTANCE_MISMATCH)


def _incoming_instance(
    received: _Received, tracked: TrackedAssociation, association_id: int
) -> IncomingInstance:
    header = received.header
    return IncomingInstance(
        study=header.study,
        series=header.series,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        instance_number=header.instance_number,
        path=received.path,
        size_bytes=received.size_bytes,
        dataset_digest="",
        calling_ae_title=tracked.caller.calling_ae_title,
        association_id=association_id,
        is_own_result=_is_own_result(header),
        received_at=datetime.now(UTC),
    )


def _is_own_result(header: InstanceHeader) -> bool:
    """Recognise results of radnode, of this node or another one behind the same PACS.

    Storage also knows the SOP Instance UIDs of this node's results.
    """
    return (
        header.series.modality in _RESULT_MODALITIES
        and header.manufacturer.casefold() == _OWN_MANUFACTURER
    )
