"""C-STORE SCU: result objects to a PACS, over one association (PS3.4 B).

Only SOP classes that are sent are proposed, each transfer syntax in a context of its own, so
that the answer says what the PACS really takes. Objects in Explicit VR Little Endian are
re-encoded where only Implicit is accepted; others go as they lie on disk. A send may be repeated
at any time: the UIDs stay the same, and a PACS that has an object already is content.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from config.settings import DicomDestination
from node.errors import DeliveryError, FormRefused, PermanentDelivery, TransientDelivery
from node.store_association import open_association, place, refused
from node.store_status import failure_of, is_of_form
from pipelines.objects.encoding import sop_class_name
from storage.instance_files import uid_tag

_REPORT_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

Note: TypeAlias = Callable[[str, bool], None]
"""Told, by SOP Instance UID, what may be at the destination from now on, or is not."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stored:
    """How one object went: the C-STORE status, and the transfer syntax that was used.

    `refusal` says why it is not there, of one that may be refused.
    """

    status: str
    transfer_syntax_uid: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class _StoredObject:
    """One file to send."""

    path: Path
    sop_class_uid: UID
    sop_instance_uid: str
    transfer_syntax_uid: UID
    is_needed: bool = True


def note_nothing(_sop_instance_uid: str, _may_be_there: bool = True) -> None:
    """Keep nothing."""


def store_objects(
    destination: DicomDestination,
    calling_ae_title: str,
    paths: Sequence[Path],
    note: Note = note_nothing,
    on_stored: Callable[[str], None] = note_nothing,
    may_be_refused: Collection[str] = (),
) -> Mapping[str, Stored]:
    """Send objects, segmentations before the reports that refer to them.

    Returns what came of each SOP Instance UID. `note` is called with it and True before each is
    sent, and with False where the destination has refused it; `on_stored` where it is stored.
    Those in `may_be_refused` go last, and hold nothing up.

    Raises:
        TransientDelivery: connection, resources or a busy PACS; send all of them again later.
        FormRefused: the PACS refused an object in this form; what went before it is there.
        PermanentDelivery: the PACS will never take it; the text says what a person can do.
    """
    known = map(_stored_object, paths)
    objects = [
        replace(each, is_needed=each.sop_instance_uid not in may_be_refused) for each in known
    ]
    objects.sort(key=_order)
    assoc = open_association(destination, calling_ae_title, _proposals(destination, objects))
    try:
        _check_contexts(assoc, destination, [item for item in objects if item.is_needed])
        stored = {}
        for item in objects:
            one = _tried(assoc, destination, item, note)
            stored[item.sop_instance_uid] = one
            if not one.refusal:
                on_stored(item.sop_instance_uid)
        return stored
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


def _order(item: _StoredObject) -> tuple[bool, bool, str]:
    is_report = item.sop_class_uid.startswith(_REPORT_CLASSES)
    return not item.is_needed, is_report, item.sop_instance_uid


def _proposals(
    destination: DicomDestination, objects: Sequence[_StoredObject]
) -> dict[UID, list[UID]]:
    proposals: dict[UID, list[UID]] = {}
    for item in objects:
        syntaxes = [item.transfer_syntax_uid]
        if item.transfer_syntax_uid in _UNCOMPRESSED:
            wanted = map(UID, destination.transfer_syntaxes)
            # Notes and short reports are never compressed, whatever the profile says.
            syntaxes = [syntax for syntax in wanted if syntax in _UNCOMPRESSED] or [*_UNCOMPRESSED]
        known = proposals.setdefault(item.sop_class_uid, [])
        known += [syntax for syntax in syntaxes if syntax not in known]
    return proposals


def _check_contexts(
    assoc: Any, destination: DicomDestination, objects: Sequence[_StoredObject]
) -> None:
    """Find out before anything is sent: half a result in the PACS helps nobody."""
    accepted = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
    missing = {i.sop_class_uid for i in objects if str(i.sop_class_uid) not in accepted}
    if missing:
        raise refused(destination, missing)


def _tried(assoc: Any, destination: DicomDestination, item: _StoredObject, note: Note) -> Stored:
    """Send one object; one that may be refused is told as refused in place of the error."""
    try:
        if not item.is_needed:
            _check_contexts(assoc, destination, [item])
        return _store(assoc, destination, item, note)
    except PermanentDelivery as refusal:
        if item.is_needed:
            raise
        _log.warning("object_refused", destination=destination.name, reason=refusal.text)
        return Stored("", "", refusal.text)


def _store(assoc: Any, destination: DicomDestination, item: _StoredObject, note: Note) -> Stored:
    note(item.sop_instance_uid, True)
    used = _transfer_syntax(assoc, item)
    is_as_on_disk = used == item.transfer_syntax_uid
    try:
        answer = assoc.send_c_store(item.path if is_as_on_disk else dcmread(item.path))
    except RuntimeError as error:
        # The association ended between two objects.
        text = f"{place(destination)} ended the association"
        raise TransientDelivery("aborted", text) from error
    status = answer.get("Status")
    failure = failure_of(status, sop_class_name(item.sop_class_uid), place(destination))
    if failure is not None:
        raise _refusal(failure, status, item, note)
    _log.info(
        "object_sent",
        destination=destination.name,
        instance=uid_tag(item.sop_instance_uid),
        status=f"0x{status:04X}",
    )
    return Stored(f"0x{status:04X}", str(used))


def _refusal(
    failure: DeliveryError, status: int | None, item: _StoredObject, note: Note
) -> DeliveryError:
    if status is None:
        return failure
    note(item.sop_instance_uid, False)
    if is_of_form(status):
        return FormRefused(failure.code, failure.text, [item.sop_class_uid])
    return failure


def _transfer_syntax(assoc: Any, item: _StoredObject) -> UID:
    """Give the object's own transfer syntax if that is accepted, else the one that is."""
    accepted: list[UID] = [
        context.transfer_syntax[0]
        for context in assoc.accepted_contexts
        if context.abstract_syntax == item.sop_class_uid
    ]
    if item.transfer_syntax_uid in accepted:
        return item.transfer_syntax_uid
    return accepted[0]
