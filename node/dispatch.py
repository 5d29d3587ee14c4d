"""How each kind of destination is reached: one call with a finished job, one receipt back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import structlog

from config.settings import (
    Destination,
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7Destination,
    NodeSettings,
    StowDestination,
)
from fhir.client import FhirClient
from fhir.errors import FhirError
from fhir.folder import deliver_to_folder
from fhir.hl7_delivery import Hl7Client
from fhir.progress import Progress
from node.errors import CannotStart, FormRefused
from node.fallback import kinds_instead, told_instead
from node.made_objects import PreparedObject
from node.object_negotiation import accepted_encodings, accepted_kinds
from node.outcome_report import header_source, outcome_objects
from node.prepared_objects import prepared_objects
from node.report_pdf import with_pdf
from node.scu import Note, note_nothing, store_objects
from node.stow.delivery import store_over_http
from node.superseding import SendJournal, carried_over, revised_objects, taken_back
from node.wanted_objects import wanted_objects
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import RECEIPT_KEY, told
from storage.telling import WITH_RESULT, telling

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """`send` hands a finished job over and returns the destination's receipt.

    Its second argument is what an earlier try has reached, for destinations that take a result in
    several steps; the others make nothing of it.

    `confirms` says whether a receipt means that the destination keeps it: a FHIR server, a PACS
    over HTTP or a folder answers for what it stored (unless the receipt has `UNCONFIRMED_KEY`), a
    PACS by C-STORE only for what it took.

    Raises, from `send`: `TransientDelivery`, `PermanentDelivery`, `FhirError`, `OSError`.
    """

    send: Callable[[FinishedJob, Progress], Mapping[str, str]]
    confirms: bool
    check: Callable[[], None] | None = None
    """Asks, at the start, whether the destination can take results as the settings say."""


def sender_for(destination: Destination, node: NodeSettings, files: InstanceFiles) -> Sender:
    """Return the way to one destination; connects to nobody yet.

    Raises `CannotStart` when the destination's certificates cannot be used.
    """
    match destination:
        case DicomDestination():
            return Sender(partial(_send_to_pacs, destination, node, files), confirms=False)
        case StowDestination():
            return Sender(partial(store_over_http, destination, node, files), confirms=True)
        case FhirDestination():
            client = _client(destination, node)
            return Sender(
                lambda finished, progress: client.deliver(with_pdf(finished, files), progress),
                confirms=True,
                check=client.check_capability,
            )
        case FolderDestination():
            return Sender(_at_once(partial(_write_report, destination, node, files)), confirms=True)
        case Hl7Destination():
            receiver = Hl7Client(destination, node.timezone)
            return Sender(
                _at_once(lambda finished: receiver.deliver(with_pdf(finished, files))),
                confirms=True,
                check=receiver.check,
            )
        case _:
            assert_never(destination)


def _at_once(
    send: Callable[[FinishedJob], Mapping[str, str]],
) -> Callable[[FinishedJob, Progress], Mapping[str, str]]:
    return lambda finished, _progress: send(finished)


def _client(destination: FhirDestination, node: NodeSettings) -> FhirClient:
    try:
        return FhirClient(destination, node.organization_name, node.timezone)
    except FhirError as error:
        raise CannotStart(f"destination {destination.name}: {error.text}") from error


def _send_to_pacs(
    destination: DicomDestination,
    node: NodeSettings,
    files: InstanceFiles,
    finished: FinishedJob,
    progress: Progress,
) -> Mapping[str, str]:
    calling_ae_title = destination.calling_ae_title or node.ae_title
    if finished.withdrawn_at is not None:
        return taken_back(
            destination,
            files,
            finished,
            progress.receipt,
            made=header_source(node, files, finished),
            send=lambda note: _stored(destination, calling_ae_title, (note,)),
        )
    if telling(finished.job) not in WITH_RESULT:
        report = outcome_objects(destination, node, files, finished, progress.receipt)
        receipt = _stored(destination, calling_ae_title, report, SendJournal(progress, report))
        return {**carried_over(progress.receipt), **receipt}
    send = partial(_sent, destination, calling_ae_title, files, finished, progress)
    try:
        return send(destination.objects)
    except FormRefused as refusal:
        instead = _of_kinds(finished, kinds_instead(destination, finished, refusal))
        taken = instead and accepted_kinds(destination, calling_ae_title, instead)
        if not taken:
            raise
        log.warning("form_refused", kinds=[kind.name for kind in taken], reason=refusal.text)
        return {**send([kind.name.lower() for kind in taken]), **told_instead(refusal)}


def _sent(
    destination: DicomDestination,
    calling_ae_title: str,
    files: InstanceFiles,
    finished: FinishedJob,
    progress: Progress,
    kinds: Sequence[str],
) -> Mapping[str, str]:
    """Send the objects of these kinds as the destination accepts them."""
    objects: tuple[PreparedObject, ...] = ()
    if wanted := _of_kinds(finished, kinds):
        encodings = accepted_encodings(destination, calling_ae_title, wanted)
        prepared = prepared_objects(files, finished, kinds, encodings)
        objects = revised_objects(files, finished, prepared, progress.receipt)
    journal = SendJournal(progress, objects)
    receipt = _stored(destination, calling_ae_title, objects, journal)
    return {**carried_over(progress.receipt), **receipt}


def _of_kinds(finished: FinishedJob, kinds: Collection[str]) -> dict[ObjectKind, str]:
    """Give the SOP Classes of what the job made of these kinds."""
    return {made.kind: made.sop_class_uid for made in wanted_objects(finished, kinds)}


def _stored(
    destination: DicomDestination,
    calling_ae_title: str,
    objects: tuple[PreparedObject, ...],
    note: Note = note_nothing,
) -> Mapping[str, str]:
    """Send the objects, if any; the receipt for them."""
    if not objects:
        return {RECEIPT_KEY: told([])}
    paths = [item.path for item in objects]
    stored = store_objects(destination, calling_ae_title, paths, note)
    sent = [
        replace(
            item.told,
            transfer_syntax_uid=stored[item.told.sop_instance_uid].transfer_syntax_uid,
        )
        for item in objects
    ]
    statuses = {uid: one.status for uid, one in stored.items()}
    return {**statuses, RECEIPT_KEY: told(sent)}


def _write_report(
    destination: FolderDestination, node: NodeSettings, files: InstanceFiles, finished: FinishedJob
) -> Mapping[str, str]:
    told = with_pdf(finished, files)
    return deliver_to_folder(told, destination, node.organization_name, node.timezone)
