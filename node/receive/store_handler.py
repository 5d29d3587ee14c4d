"""One C-STORE request: from the wire to a durable file and a row.

0x0000 is answered only after the file and its row, or a receipt for the row, are as safe as the
durability asks (`storage.instance_recorder`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
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
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.instance_header import InstanceHeader
from node.receive.message_stream import MessageStream
from node.receive.short_way import ShortWay, short_way
from node.receive.slow_arrival import SlowArrival
from node.receive.store_request import Handled, StoreRequest, check_command, receive
from node.receive.upper_layer import UpperLayer
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.errors import (
    ConflictReason,
    DatabaseUnavailable,
    OutOfSpace,
    Quarantined,
    StorageError,
)
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

    def short_way(self, layer: UpperLayer, messages: MessageStream) -> ShortWay | None:
        """Return the short way of one association, if there is one."""
        return short_way(layer, messages, self._files, self._recorder, self._disk_low_mib)

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
        request.pass_over_the_rest()
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
        """Take one instance; return what is left to do when that is answered."""
        if self._files.is_low(self._disk_low_mib):
            raise StoreRefused(StoreFailure.DISK_LOW)
        check_command(request)
        try:
            with self._files.open_incoming(request.spare) as file:
                incoming, arriving, may_wait = self._taken_in(file, request)
            late = may_wait and self._recorder.acknowledged(incoming, request.tracked.count)
            if late:
                request.acknowledged(incoming)
                return partial(self._settle, late, arriving)
            self._files.bring_in_or_drop(incoming.path)
        except (OSError, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error
        digest = arriving.dataset_digest()
        self._record(incoming._replace(dataset_digest=digest), request.tracked)
        request.acknowledged(incoming)
        return None

    def _taken_in(
        self, file: IncomingFile, request: StoreRequest
    ) -> tuple[IncomingInstance, ArrivingInstance, bool]:
        """Receive an instance whole; whether its row may wait for a receipt comes last."""
        slow = SlowArrival(partial(self._tracker.will_bring, request.tracked))
        header, arriving = receive(file, request, slow)
        association_id = self._association_id(request.tracked)
        path = file.place(*header.uids)
        incoming = _incoming(header, path, file.size_bytes, request, association_id)
        may_wait = not self._files.is_synced or self._recorder.expects(incoming)
        if may_wait:
            file.leave(*header.uids, meanwhile=arriving.digest)
        else:
            # Its row has to come first: then its entry is to be safe at its place, and there alone.
            file.keep(*header.uids, meanwhile=arriving.digest)
        return incoming, arriving, may_wait

    def _settle(self, late: LateRow, arriving: ArrivingInstance) -> None:
        """Do for an instance what its sender need not wait for; else its row's writer does it."""
        with suppress(StorageError):
            self._files.bring_in(late.incoming.path)
            late.dataset_digest = arriving.dataset_digest()

    def _association_id(self, tracked: TrackedAssociation) -> int:
        try:
            return self._tracker.row_of(tracked)
        except (DatabaseUnavailable, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error

    def _record(self, incoming: IncomingInstance, tracked: TrackedAssociation) -> None:
        """Put an instance that lies at its place on record."""
        try:
            self._recorder.record(incoming, tracked.count)
        except Quarantined as kept:
            raise StoreRefused(_QUARANTINED[kept.reason]) from kept
        except DatabaseUnavailable as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error
        except OutOfSpace as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error


def _incoming(
    header: InstanceHeader,
    path: str,
    size_bytes: int,
    request: StoreRequest,
    association_id: int,
) -> IncomingInstance:
    return IncomingInstance(
        study=header.study,
        series=header.series,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=request.context.transfer_syntax,
        instance_number=header.instance_number,
        path=path,
        size_bytes=size_bytes,
        dataset_digest="",
        calling_ae_title=request.tracked.caller.calling_ae_title,
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
