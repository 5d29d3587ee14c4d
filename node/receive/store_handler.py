"""One C-STORE request: from the wire to a durable file and a row.

0x0000 is answered only after the file, its directories and the row's transaction are on disk.
Nothing is decoded but the identity; the data set's bytes stay as they came.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

import structlog

from config.settings import Settings
from node.receive.arriving_instance import ArrivingInstance, ContentDigest
from node.receive.association_ends import AssociationOver
from node.receive.association_tracking import (
    AssociationTracker,
    TrackedAssociation,
    record_audit,
)
from node.receive.command_set import Command
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.file_meta import file_head
from node.receive.instance_header import InstanceHeader
from node.receive.negotiation import AcceptedContext
from node.receive.unsettled_files import UnsettledFiles
from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import DatabaseUnavailable, IdentityConflict, OutOfSpace, StorageError
from storage.instance_files import IncomingFile, InstanceFiles, uid_tag
from storage.instances import record_instance
from storage.records import AlgorithmIdentity

_OWN_MANUFACTURER = AlgorithmIdentity("", "", "", "").manufacturer
_RESULT_MODALITIES = frozenset({"SEG", "SR"})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE request, the context it came on, and the data set that is yet to come."""

    command: Command
    context: AcceptedContext
    data_set: Iterator[memoryview]
    tracked: TrackedAssociation


@dataclass(frozen=True, slots=True)
class _Received:
    """A readable instance whose file is durable."""

    header: InstanceHeader
    digest: ContentDigest
    transfer_syntax_uid: str
    path: PurePosixPath


class StoreHandler:
    """Answers C-STORE requests; one object serves all association threads."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        tracker: AssociationTracker,
        unsettled: UnsettledFiles,
    ) -> None:
        self._disk_low_mib = settings.storage.disk_low_mib
        self._db = db
        self._files = files
        self._tracker = tracker
        self._unsettled = unsettled

    def handle(self, request: StoreRequest) -> StoreFailure | None:
        """Take one instance, and return None, or why not; the data set is read to its end.

        Raises:
            AssociationOver: the association ended before the data set did.
        """
        tracked = request.tracked
        try:
            outcome = self._store(request)
        except AssociationOver:
            raise
        except StoreRefused as refused:
            failure = refused.failure
            if failure is StoreFailure.DISK_FULL:
                self._disk_is_full(tracked, refused.__cause__)
        except Exception:  # noqa: BLE001 -- the request's edge: any answer beats none
            _log.error("store_failed", exc_info=True)
            failure = StoreFailure.PROCESSING_FAILURE
        else:
            tracked.outcomes[outcome.value] += 1
            return None
        for _ in request.data_set:
            pass
        tracked.outcomes["refused"] += 1
        _log.warning(
            "instance_refused",
            reason=failure.code,
            status=f"0x{failure.status:04X}",
            instance=uid_tag(request.command.sop_instance_uid.decode("latin-1")),
        )
        return failure

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

    def _store(self, request: StoreRequest) -> StoreOutcome:
        if self._files.is_low(self._disk_low_mib):
            raise StoreRefused(StoreFailure.DISK_LOW)
        _check_command(request)
        with self._incoming() as incoming:
            header, digest = _receive(incoming, request)
            association_id = self._association_id(request.tracked)
            received = _kept(incoming, header, digest, request.context.transfer_syntax)
        outcome = self._record(received, request.tracked, association_id)
        if outcome is StoreOutcome.DUPLICATE:
            self._files.discard(received.path)
        return outcome

    def _association_id(self, tracked: TrackedAssociation) -> int:
        try:
            return self._tracker.row_of(tracked)
        except (DatabaseUnavailable, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error

    @contextmanager
    def _incoming(self) -> Iterator[IncomingFile]:
        try:
            with self._files.open_incoming() as incoming:
                yield incoming
        except (OSError, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error

    def _record(
        self, received: _Received, tracked: TrackedAssociation, association_id: int
    ) -> StoreOutcome:
        incoming = _incoming_instance(received, tracked, association_id)
        try:
            return record_instance(self._db, incoming)
        except DatabaseUnavailable as error:
            self._unsettled.add(received.path)
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error
        except IdentityConflict as error:
            self._files.discard(received.path)
            self._audit_conflict(received, tracked)
            raise StoreRefused(StoreFailure.IDENTITY_CONFLICT) from error
        except OutOfSpace as error:
            self._files.discard(received.path)
            raise StoreRefused(StoreFailure.DISK_FULL) from error
        except StorageError:
            self._files.discard(received.path)
            raise

    def _audit_conflict(self, received: _Received, tracked: TrackedAssociation) -> None:
        record_audit(
            self._db,
            event="identity_conflict",
            outcome="failure",
            caller=tracked.caller,
            detail={
                "study": uid_tag(received.header.study.study_instance_uid),
                "series": uid_tag(received.header.series.series_instance_uid),
                "instance": uid_tag(received.header.sop_instance_uid),
            },
        )


def _check_command(request: StoreRequest) -> None:
    """Command set and presentation context must name the same SOP Class (PS3.4 B.2.3)."""
    command = request.command
    if command.sop_class_uid != request.context.abstract_syntax.encode("ascii"):
        raise StoreRefused(StoreFailure.SOP_CLASS_MISMATCH)
    if not command.sop_instance_uid:
        raise StoreRefused(StoreFailure.SOP_INSTANCE_MISMATCH)


def _receive(incoming: IncomingFile, request: StoreRequest) -> tuple[InstanceHeader, ContentDigest]:
    """Write what comes; return whose it is, if it is what the command says."""
    command, transfer_syntax_uid = request.command, request.context.transfer_syntax
    head = file_head(command.sop_class_uid, command.sop_instance_uid, transfer_syntax_uid)
    arriving = ArrivingInstance(head, transfer_syntax_uid)
    # Past `IncomingFile.write`, because the error's number goes into the audit trail.
    incoming.file.write(head)
    for fragment in request.data_set:
        incoming.file.write(fragment)
        arriving.take(fragment)
    incoming.file.flush()
    header, digest = arriving.finish()
    _check_against_command(header, command)
    return header, digest


def _kept(
    incoming: IncomingFile, header: InstanceHeader, digest: ContentDigest, transfer_syntax_uid: str
) -> _Received:
    path = incoming.keep(
        header.study.study_instance_uid,
        header.series.series_instance_uid,
        header.sop_instance_uid,
        digest.dataset_sha256,
    )
    return _Received(header, digest, transfer_syntax_uid, path)


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
        size_bytes=received.digest.size,
        sha256=received.digest.sha256,
        dataset_sha256=received.digest.dataset_sha256,
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
