"""One C-STORE request: from pynetdicom's temporary file to a durable file and a row.

0x0000 is answered only after the file, its directories and the row's transaction are on disk.
Nothing is decoded but the identity; the data set's bytes stay as they came.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from pydicom.dataset import Dataset

from config.settings import Settings
from node.receive.association_tracking import (
    AssociationTracker,
    TrackedAssociation,
    record_audit,
)
from node.receive.content_digest import ContentDigest, content_digest
from node.receive.dataset_structure import check_whole
from node.receive.dimse_status import StoreFailure, StoreRefused, answer
from node.receive.instance_header import InstanceHeader, read_instance_header
from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import ConflictReason, DatabaseUnavailable, OutOfSpace, Quarantined
from storage.instance_files import IncomingFile, InstanceFiles, uid_tag
from storage.instance_recorder import InstanceRecorder
from storage.records import AlgorithmIdentity

_OWN_MANUFACTURER = AlgorithmIdentity("", "", "", "").manufacturer
_RESULT_MODALITIES = frozenset({"SEG", "SR"})

_QUARANTINED = {
    ConflictReason.OTHER_PATIENT: StoreFailure.OTHER_PATIENT,
    ConflictReason.SERIES_IN_OTHER_STUDY: StoreFailure.OTHER_STUDY,
    ConflictReason.INSTANCE_IN_OTHER_STUDY: StoreFailure.OTHER_STUDY,
}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Received:
    """A readable instance whose file is at its place."""

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
        recorder: InstanceRecorder,
    ) -> None:
        self._disk_low_mib = settings.storage.disk_low_mib
        self._db = db
        self._files = files
        self._tracker = tracker
        self._recorder = recorder

    def handle(self, event: Any) -> int | Dataset:
        """Answer one request (handler of `evt.EVT_C_STORE`); never raises."""
        try:
            outcome = self._store(event)
        except StoreRefused as refused:
            failure = refused.failure
            if failure is StoreFailure.DISK_FULL:
                self._disk_is_full(event)
        except Exception:  # noqa: BLE001 -- the edge of pynetdicom's thread: any answer beats none
            _log.error("store_failed", exc_info=True)
            failure = StoreFailure.PROCESSING_FAILURE
        else:
            self._tracker.count(event.assoc, outcome.value)
            return answer(None)
        self._tracker.count(event.assoc, failure.outcome)
        _log.warning(
            f"instance_{failure.outcome}",
            reason=failure.code,
            status=f"0x{failure.status:04X}",
            instance=uid_tag(str(event.request.AffectedSOPInstanceUID)),
        )
        return answer(failure)

    def _disk_is_full(self, event: Any) -> None:
        """Tell it in log and audit trail, once an association: all of its instances fail."""
        caller = self._tracker.first_disk_full(event.assoc)
        if caller is None:
            return
        error = _arrival_error(event)
        detail = {"error": errno.errorcode.get(error.errno or 0, "EIO") if error else "ENOSPC"}
        _log.error("disk_full", **detail)
        record_audit(self._db, event="disk_full", outcome="failure", caller=caller, detail=detail)

    def _store(self, event: Any) -> StoreOutcome:
        if self._files.is_low(self._disk_low_mib):
            raise StoreRefused(StoreFailure.DISK_LOW)
        _check_arrived(event)
        tracked = self._tracked(event)
        try:
            received = self._keep(event)
        except OutOfSpace as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error
        outcome = self._record(received, tracked)
        _log.debug(
            "instance_stored",
            outcome=outcome,
            instance=uid_tag(received.header.sop_instance_uid),
            size_bytes=received.digest.size,
        )
        return outcome

    def _tracked(self, event: Any) -> TrackedAssociation:
        try:
            return self._tracker.of(event.assoc)
        except (DatabaseUnavailable, OutOfSpace) as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error
        except KeyError as error:
            # The listener stops and has aborted the association under our feet.
            raise StoreRefused(StoreFailure.PROCESSING_FAILURE) from error

    def _keep(self, event: Any) -> _Received:
        transfer_syntax_uid = str(event.context.transfer_syntax)
        with self._files.open_incoming() as incoming:
            _adopt(incoming, event.dataset_path)
            digest = content_digest(incoming.file)
            check_whole(incoming.file, digest.offset, digest.size, transfer_syntax_uid)
            header = read_instance_header(incoming.file, digest.offset, transfer_syntax_uid)
            _check_against_command(header, event)
            path = incoming.keep(
                header.study.study_instance_uid,
                header.series.series_instance_uid,
                header.sop_instance_uid,
                digest.dataset_sha256,
            )
        return _Received(header, digest, transfer_syntax_uid, path)

    def _record(self, received: _Received, tracked: TrackedAssociation) -> StoreOutcome:
        try:
            return self._recorder.record(_incoming_instance(received, tracked))
        except Quarantined as kept:
            raise StoreRefused(_QUARANTINED[kept.reason]) from kept
        except DatabaseUnavailable as error:
            raise StoreRefused(StoreFailure.DATABASE_UNAVAILABLE) from error
        except OutOfSpace as error:
            raise StoreRefused(StoreFailure.DISK_FULL) from error


def _arrival_error(event: Any) -> OSError | None:
    # A request that comes without a data set has no file.
    error: OSError | None = getattr(event.request._dataset_file, "error", None)
    return error


def _check_arrived(event: Any) -> None:
    """Refuse a data set that could not be written when it came (see `ArrivingFile`)."""
    error = _arrival_error(event)
    if error is not None:
        raise StoreRefused(StoreFailure.DISK_FULL) from error


def _adopt(incoming: IncomingFile, received: Path) -> None:
    """Put pynetdicom's temporary file in the place of the empty `incoming` one."""
    incoming.file.close()
    received.replace(incoming.path)
    incoming.file = incoming.path.open("r+b")


def _check_against_command(header: InstanceHeader, event: Any) -> None:
    """Command set, presentation context and data set must name the same SOP (PS3.4 B.2.3)."""
    sop_class_uid = str(event.request.AffectedSOPClassUID)
    if not header.sop_class_uid == sop_class_uid == str(event.context.abstract_syntax):
        raise StoreRefused(StoreFailure.SOP_CLASS_MISMATCH)
    if header.sop_instance_uid != str(event.request.AffectedSOPInstanceUID):
        raise StoreRefused(StoreFailure.SOP_INSTANCE_MISMATCH)


def _incoming_instance(received: _Received, tracked: TrackedAssociation) -> IncomingInstance:
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
        association_id=tracked.association_id,
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
