"""How each kind of destination is reached: one call with a finished job, one receipt back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import assert_never

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
from node.errors import CannotStart
from node.report_pdf import hand_over
from node.store_delivery import store_at_pacs
from node.stow.delivery import store_over_http
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob


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
            return Sender(partial(store_at_pacs, destination, node, files), confirms=False)
        case StowDestination():
            return Sender(partial(store_over_http, destination, node, files), confirms=True)
        case FhirDestination():
            client = _client(destination, node)
            return Sender(
                lambda finished, progress: hand_over(
                    finished, files, lambda told: client.deliver(told, progress)
                ),
                confirms=True,
                check=client.check_capability,
            )
        case FolderDestination():
            return Sender(_at_once(partial(_write_report, destination, node, files)), confirms=True)
        case Hl7Destination():
            receiver = Hl7Client(destination, node.timezone)
            return Sender(
                _at_once(
                    partial(hand_over, files=files, deliver=receiver.deliver)
                    if destination.include_pdf
                    else receiver.deliver
                ),
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


def _write_report(
    destination: FolderDestination, node: NodeSettings, files: InstanceFiles, finished: FinishedJob
) -> Mapping[str, str]:
    def write(told: FinishedJob) -> Mapping[str, str]:
        return deliver_to_folder(told, destination, node.organization_name, node.timezone)

    return hand_over(finished, files, write)
