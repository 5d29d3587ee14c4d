"""Delivering a finished job to a FHIR R4 server, once however often it is tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from config.settings import FhirDestination
from fhir.bundle import build_bundle, bundle_json, finished_at
from fhir.diagnostic_report import report_identifier
from fhir.errors import PermanentFhirError, TransientFhirError
from fhir.identifiers import result_identity
from fhir.json_reading import Json, child, objects, string
from fhir.operation_outcome import summary
from fhir.resolution import resolve_references
from fhir.resources.R4B.bundle import Bundle
from fhir.search import search_by_identifier
from fhir.transport import FhirTransport
from storage.records import FinishedJob

_FHIR_4_0: Final = re.compile(r"4\.0\.\d+")
_LOCATION: Final = re.compile(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?$")


class FhirClient:
    """One EHR. Asks before it writes, writes one transaction, and reads the answer.

    Use as a context manager, or `close` it. Not for several threads at once.
    """

    def __init__(self, destination: FhirDestination, organization_name: str, timezone: str) -> None:
        self._destination = destination
        self._organization_name = organization_name
        self._timezone = timezone
        self._transport = FhirTransport(destination)
        self._speaks_r4 = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def check_capability(self) -> None:
        """Make sure, once, that the server speaks FHIR 4.0.

        Another version is no verdict on the report: the EHR may be in the middle of an upgrade,
        or `base_url` name the wrong endpoint. The reports wait, rather than die one by one.

        Raises:
            TransientFhirError: it cannot be asked now; code `fhir_version`: it speaks another one.
        """
        if self._speaks_r4:
            return
        statement = self._transport.read_metadata()
        if statement.get("resourceType") != "CapabilityStatement":
            text = "metadata: the answer is no CapabilityStatement"
            raise TransientFhirError("bad_response", text)
        if _FHIR_4_0.fullmatch(string(statement, "fhirVersion")) is None:
            text = "the server does not speak FHIR R4 (4.0.x), the only version that is sent"
            raise TransientFhirError("fhir_version", text)
        self._speaks_r4 = True

    def deliver(self, finished: FinishedJob) -> Mapping[str, str]:
        """Deliver the report and return its ids on the server (`report`, `observations`).

        A report that the server already has is not sent again: the same ids come back.

        Raises:
            TransientFhirError: try again later.
            PermanentFhirError: the server refused it, or it cannot be told.
            PatientNotResolved: nothing was sent; the right patient is not known yet.
        """
        self.check_capability()
        delivered = self._delivered_report(finished)
        if delivered is not None:
            return _receipt_of_report(delivered)
        content = self._destination
        bundle = build_bundle(
            finished,
            content=content,
            organization_name=self._organization_name,
            timezone=self._timezone,
            references=resolve_references(self._transport, finished, content),
            issued=finished_at(finished),
        )
        return _receipt_of_answer(bundle, self._transport.transaction(bundle_json(bundle)))

    def _delivered_report(self, finished: FinishedJob) -> Json | None:
        identity = result_identity(finished, self._destination.identifier_system)
        identifier = report_identifier(identity)
        system, value = str(identifier.system), str(identifier.value)
        hits = search_by_identifier(self._transport, "DiagnosticReport", system, value)
        if hits.are_many:
            text = "the server has several reports with the identifier of this result"
            raise PermanentFhirError("report_ambiguous", text)
        return hits.only


def _receipt_of_report(report: Json) -> dict[str, str]:
    references = [string(each, "reference") for each in objects(report.get("result"))]
    return _receipt(f"DiagnosticReport/{report['id']}", references)


def _receipt_of_answer(bundle: Bundle, answer: Json) -> dict[str, str]:
    """The receipt from a transaction-response, whose entries stand in the order of the Bundle."""
    sent = bundle.entry or []
    entries = objects(answer.get("entry"))
    if answer.get("resourceType") != "Bundle" or len(entries) != len(sent):
        # It may be stored all the same; the next try will find the report.
        text = "transaction: the answer does not tell what became of each entry"
        raise TransientFhirError("bad_response", text)
    kinds = [str(each.request.url) if each.request else "" for each in sent]
    made = [_location(kind, entry) for kind, entry in zip(kinds, entries, strict=True)]
    reports = [each for each in made if each.startswith("DiagnosticReport/")]
    return _receipt(reports[0], [each for each in made if each.startswith("Observation/")])


def _location(kind: str, entry: Json) -> str:
    """`Type/id` of an entry that was created or found."""
    response = child(entry, "response")
    if not string(response, "status").startswith("2"):
        text = f"transaction: {kind} was refused: {summary(response.get('outcome'))}"
        raise PermanentFhirError("entry_refused", text)
    match = _LOCATION.search(string(response, "location"))
    resource_id = string(child(entry, "resource"), "id")
    place = match[1] if match else f"{kind}/{resource_id}"
    if not place.startswith(f"{kind}/") or place == f"{kind}/":
        text = f"transaction: the answer does not say where the {kind} is"
        raise TransientFhirError("bad_response", text)
    return place


def _receipt(report: str, observations: list[str]) -> dict[str, str]:
    return {"report": report, "observations": " ".join(observations)}
