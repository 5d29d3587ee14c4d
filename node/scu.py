"""C-STORE SCU: result objects to a PACS, over one association (PS3.4 B).

Only SOP classes that are sent are proposed, each transfer syntax in a context of its own, so
that the answer says what the PACS really takes. Objects lie on disk in Explicit VR Little
Endian; they are re-encoded where only Implicit is accepted. A send may be repeated at any time:
the UIDs stay the same, and a PACS that has an object already is content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import SegmentationStorage

from config.settings import DicomDestination
from node.dimse_policy import apply_dimse_policy, prepare_requestor
from node.errors import PermanentDelivery, TransientDelivery
from node.store_status import failure_of
from node.tls_client import TlsRequest
from storage.instance_files import uid_tag

_REJECTED_PERMANENT = 1
_CALLING_AE_TITLE_NOT_RECOGNISED = 3
_CALLED_AE_TITLE_NOT_RECOGNISED = 7
_SERVICE_USER = 1

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _StoredObject:
    """One file to send."""

    path: Path
    sop_class_uid: UID
    sop_instance_uid: str
    transfer_syntax_uid: UID


def store_objects(
    destination: DicomDestination, calling_ae_title: str, paths: Sequence[Path]
) -> Mapping[str, str]:
    """Send objects, segmentations before the reports that refer to them.

    Returns the receipt: the C-STORE status (hexadecimal) of each SOP Instance UID.

    Raises:
        TransientDelivery: connection, resources or a busy PACS; send all of them again later.
        PermanentDelivery: the PACS will never take it; the text says what a person can do.
    """
    apply_dimse_policy()
    objects = sorted((_stored_object(path) for path in paths), key=_order)
    assoc = _associate(destination, calling_ae_title, objects)
    try:
        _check_contexts(assoc, destination, objects)
        return {item.sop_instance_uid: _store(assoc, destination, item) for item in objects}
    finally:
        if assoc.is_established:
            assoc.release()


def _stored_object(path: Path) -> _StoredObject:
    try:
        meta = read_file_meta_info(path)
    except (InvalidDicomError, OSError) as error:
        text = f"a result object cannot be read ({type(error).__name__}); retry the job"
        raise PermanentDelivery("object_unreadable", text) from error
    return _StoredObject(
        path=path,
        sop_class_uid=UID(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=UID(meta.TransferSyntaxUID),
    )


def _order(item: _StoredObject) -> tuple[bool, str]:
    return item.sop_class_uid != SegmentationStorage, item.sop_instance_uid


def _associate(
    destination: DicomDestination, calling_ae_title: str, objects: Sequence[_StoredObject]
) -> Any:
    ae = AE(ae_title=destination.calling_ae_title or calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = destination.timeout_s
    ae.dimse_timeout = ae.network_timeout = destination.timeout_s
    sop_classes = dict.fromkeys(item.sop_class_uid for item in objects)
    tls = _tls_request(destination)
    try:
        assoc = ae.associate(
            destination.host,
            destination.port,
            contexts=[
                build_context(sop_class, transfer_syntax)
                for sop_class in sop_classes
                for transfer_syntax in destination.transfer_syntaxes
            ],
            ae_title=destination.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
            **tls.arguments,
        )
    except OSError as error:
        raise TransientDelivery("host_unknown", f"host {destination.host} is unknown") from error
    if assoc.is_rejected:
        raise _rejection(destination, assoc)
    if tls.failure is not None and not assoc.is_established:
        raise TransientDelivery(tls.failure.value, f"{_place(destination)}: {tls.fault}")
    # pynetdicom aborts by itself where no context is accepted: `_check_contexts` tells that.
    if not assoc.is_established and not assoc.rejected_contexts:
        text = f"no association with {_place(destination)}: it is down, or does not answer"
        raise TransientDelivery("no_association", text)
    return assoc


def _tls_request(destination: DicomDestination) -> TlsRequest:
    request = TlsRequest(destination.tls, destination.host)
    if request.unusable:
        # Whoever corrects the file need not revive each delivery.
        text = f"our TLS files for {_place(destination)} cannot be used: {request.unusable}"
        raise TransientDelivery("tls_files", text)
    return request


def _rejection(destination: DicomDestination, assoc: Any) -> TransientDelivery | PermanentDelivery:
    answer = assoc.acceptor.primitive
    text = f"{_place(destination)} rejected the association"
    if answer.result != _REJECTED_PERMANENT:
        return TransientDelivery("association_rejected", f"{text} for now")
    if answer.result_source == _SERVICE_USER:
        if answer.diagnostic == _CALLING_AE_TITLE_NOT_RECOGNISED:
            text += ": it does not know our AE title; register this node there"
        if answer.diagnostic == _CALLED_AE_TITLE_NOT_RECOGNISED:
            text += f": it is not called {destination.ae_title}; correct ae_title"
    return PermanentDelivery("association_rejected", text)


def _check_contexts(
    assoc: Any, destination: DicomDestination, objects: Sequence[_StoredObject]
) -> None:
    """Find out before anything is sent: half a result in the PACS helps nobody."""
    accepted = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
    refused = {i.sop_class_uid.name for i in objects if str(i.sop_class_uid) not in accepted}
    if not refused:
        return
    raise PermanentDelivery(
        "sop_class_refused",
        f"{_place(destination)} does not take {', '.join(sorted(refused))} with any of the "
        "transfer syntaxes that are proposed; enable it there, or change transfer_syntaxes",
    )


def _store(assoc: Any, destination: DicomDestination, item: _StoredObject) -> str:
    try:
        answer = assoc.send_c_store(_dataset_or_path(assoc, item))
    except RuntimeError as error:
        # The association ended between two objects.
        text = f"{_place(destination)} ended the association"
        raise TransientDelivery("aborted", text) from error
    status = answer.get("Status")
    failure = failure_of(status, item.sop_class_uid.name, _place(destination))
    if failure is not None:
        raise failure
    _log.info(
        "object_sent",
        destination=destination.name,
        instance=uid_tag(item.sop_instance_uid),
        status=f"0x{status:04X}",
    )
    return f"0x{status:04X}"


def _dataset_or_path(assoc: Any, item: _StoredObject) -> Any:
    """Return what pynetdicom shall send: the file as it is, or its data set to re-encode."""
    is_accepted_as_it_is = any(
        context.abstract_syntax == item.sop_class_uid
        and context.transfer_syntax[0] == item.transfer_syntax_uid
        for context in assoc.accepted_contexts
    )
    return item.path if is_accepted_as_it_is else dcmread(item.path)


def _place(destination: DicomDestination) -> str:
    return f"{destination.ae_title} at {destination.host}:{destination.port}"
