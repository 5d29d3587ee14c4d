"""Sends a folder of DICOM files to a node, as a modality or a PACS would (C-STORE SCU)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, build_context, evt
from pynetdicom.presentation import PresentationContext

from config.tls_settings import ClientTls
from node.dimse_policy import apply_dimse_policy, prepare_requestor
from node.errors import TransientDelivery
from node.receive.parse_errors import PARSE_ERRORS
from node.rejection_watch import RejectionWatch
from node.tls_client import TlsRequest

NO_TLS = ClientTls()
_MOST_CONTEXTS = 128
_TIMEOUT_S = 60
_UNCOMPRESSED = frozenset(
    {
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)
_SUCCESS = 0x0000
_WARNING = 0xB000


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file: a C-STORE status, or why there is none."""

    path: Path
    status: int | None = None
    reason: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether the receiver has it now, without reserve."""
        return self.status == _SUCCESS

    @property
    def is_warned(self) -> bool:
        """Whether the receiver has it now, but warns: a radnode has put it into quarantine."""
        return self.status is not None and self.status & 0xF000 == _WARNING


@dataclass(frozen=True, slots=True)
class SendReport:
    """What became of a folder; `skipped` are the files that are not DICOM."""

    files: tuple[FileReport, ...]
    skipped: tuple[Path, ...]

    @property
    def stored(self) -> int:
        """How many files the receiver has taken without a warning."""
        return sum(report.is_stored for report in self.files)

    @property
    def warned(self) -> tuple[FileReport, ...]:
        """The files that the receiver has taken with a warning."""
        return tuple(report for report in self.files if report.is_warned)

    @property
    def failed(self) -> tuple[FileReport, ...]:
        """The files that were not taken."""
        return tuple(one for one in self.files if not (one.is_stored or one.is_warned))


@dataclass(frozen=True, slots=True)
class _Sendable:
    """A file to send; careless anonymisers leave its File Meta Information with other UIDs."""

    path: Path
    sop_class_uid: UID
    transfer_syntax_uid: UID
    has_true_meta: bool


def send_folder(
    folder: Path, host: str, port: int, called: str, calling: str, tls: ClientTls = NO_TLS
) -> SendReport:
    """Send every DICOM file below `folder` over one association and report on each.

    Files go as they are; uncompressed ones are re-encoded where the receiver takes no other
    transfer syntax. `called` and `calling` are AE titles.

    Raises:
        TransientDelivery: no association; nothing was sent.
    """
    apply_dimse_policy()
    sendable, skipped = _files_of(folder)
    if not sendable:
        return SendReport((), tuple(skipped))
    assoc = _associate(host, port, called, calling, _contexts(sendable), tls)
    try:
        reports = tuple(_send(assoc, file) for file in sendable)
    finally:
        if assoc.is_established:
            assoc.release()
    return SendReport(reports, tuple(skipped))


def _files_of(folder: Path) -> tuple[list[_Sendable], list[Path]]:
    sendable, skipped = [], []
    for path in _walk(folder):
        file = _sendable(path)
        if file is None:
            skipped.append(path)
        else:
            sendable.append(file)
    return sendable, skipped


def _walk(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sendable(path: Path) -> _Sendable | None:
    """Return what is needed to send a file, or None if it is no composite DICOM object."""
    tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]
    try:
        dataset = dcmread(path, specific_tags=tags, stop_before_pixels=True)
        meta = dataset.file_meta
        if not all(dataset.get(tag) for tag in tags):
            return None
        return _Sendable(
            path=path,
            sop_class_uid=dataset.SOPClassUID,
            transfer_syntax_uid=UID(meta.TransferSyntaxUID),
            has_true_meta=(meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID)
            == (dataset.SOPClassUID, dataset.SOPInstanceUID),
        )
    except (InvalidDicomError, OSError, *PARSE_ERRORS):
        return None


def _contexts(files: Sequence[_Sendable]) -> list[PresentationContext]:
    """Propose each (SOP class, transfer syntax) as it is, then what could be re-encoded to."""
    as_they_are = dict.fromkeys((file.sop_class_uid, file.transfer_syntax_uid) for file in files)
    fallbacks = dict.fromkeys(
        (sop_class, syntax)
        for sop_class, own in as_they_are
        if own in _UNCOMPRESSED
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    )
    pairs = list(dict.fromkeys([*as_they_are, *fallbacks]))[:_MOST_CONTEXTS]
    return [build_context(sop_class, syntax) for sop_class, syntax in pairs]


def _associate(
    host: str,
    port: int,
    called: str,
    calling: str,
    contexts: list[PresentationContext],
    tls: ClientTls,
) -> Any:
    ae = AE(ae_title=calling)
    ae.connection_timeout = ae.acse_timeout = _TIMEOUT_S
    ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    watch = RejectionWatch()
    place = f"{called} at {host}:{port}"
    secure = TlsRequest(tls, host)
    if secure.unusable:
        raise TransientDelivery("tls_files", f"our TLS files cannot be used: {secure.unusable}")
    try:
        assoc = ae.associate(
            host,
            port,
            contexts=contexts,
            ae_title=called,
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor), watch.handler],
            **secure.arguments,
        )
    except (OSError, UnicodeError) as error:  # no name of a host can be too long, or hold this
        raise TransientDelivery("host_unknown", f"host {host} is unknown") from error
    if watch.rejection is not None:
        raise TransientDelivery("association_rejected", _rejected(watch, place, calling))
    if secure.failure is not None and not assoc.is_established:
        raise TransientDelivery(secure.failure.value, f"{place}: {secure.fault}")
    # Where no context is accepted pynetdicom aborts by itself; each file's report tells that.
    if not assoc.is_established and not assoc.rejected_contexts:
        raise TransientDelivery("no_association", f"{place} is down, or does not answer")
    return assoc


def _send(assoc: Any, file: _Sendable) -> FileReport:
    accepted = {
        str(context.transfer_syntax[0])
        for context in assoc.accepted_contexts
        if context.abstract_syntax == file.sop_class_uid
    }
    is_accepted_as_it_is = str(file.transfer_syntax_uid) in accepted
    if not is_accepted_as_it_is and not _is_convertible(file, accepted):
        reason = f"{file.sop_class_uid.name} in {file.transfer_syntax_uid.name} was not accepted"
        return FileReport(file.path, reason=reason)
    try:
        as_it_is = is_accepted_as_it_is and file.has_true_meta
        answer = assoc.send_c_store(file.path if as_it_is else dcmread(file.path))
    except (RuntimeError, OSError, *PARSE_ERRORS) as error:
        return FileReport(file.path, reason=f"could not be sent: {type(error).__name__}")
    status = answer.get("Status")
    return FileReport(file.path, status, "" if status is not None else "no answer")


def _is_convertible(file: _Sendable, accepted: set[str]) -> bool:
    little_endian = {str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)}
    return (
        file.transfer_syntax_uid in _UNCOMPRESSED
        and file.transfer_syntax_uid != ExplicitVRBigEndian
        and bool(accepted & little_endian)
    )


def _rejected(watch: RejectionWatch, place: str, calling: str) -> str:
    text = f"{place} rejected the association"
    if watch.is_transient:
        return f"{text} for now: it is busy, or short of room; its log says why"
    return f"{text}; does it know the AE title {calling}, and is its own right?"
