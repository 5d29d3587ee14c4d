"""Delivering a finished job to a FHIR R4 server, once however often it is tried.

Three modes: one transaction (or several, for servers that limit them), resources one by one, or
one DocumentReference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from config.settings import FhirDestination
from fhir.bundle import build_bundle, bundle_json, finished_at
from fhir.capability import check_capability
from fhir.diagnostic_report import REPORT_ROLE, report_identifier, report_status
from fhir.document_reference import DOCUMENT_ROLE, build_document
from fhir.errors import PermanentFhirError
from fhir.identifiers import result_identity
from fhir.json_reading import Json, child, objects, string
from fhir.narrative import conclusion, outcome_of
from fhir.parts import parts_of, with_places
from fhir.patient import resolve_patient
from fhir.places import places_of_answer, receipt_of
from fhir.progress import Progress
from fhir.renewal import as_updates, is_outdated, of_another_patient
from fhir.report_pdf import told_left_out
from fhir.resolution import resolve_references
from fhir.search import search_by_identifier
from fhir.sequence import create_one_by_one, write_one_by_one
from fhir.study_renewal import with_renewed_study, without_withdrawn_objects
from fhir.transport import FhirTransport
from fhir.withdrawal import place_of, provenance_entry, withdrawals
from storage.records import FinishedJob

_REPORT: Final = ("DiagnosticReport", REPORT_ROLE)


class FhirClient:
    """One EHR. Asks before it writes, writes in the configured mode, and reads the answers.

    Use as a context manager, or `close` it. Not for several threads at once.
    """

    def __init__(self, destination: FhirDestination, organization_name: str, timezone: str) -> None:
        self._destination = destination
        self._organization_name = organization_name
        self._timezone = timezone
        self._transport = FhirTransport(destination)
        self._is_capable = False

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
        """Make sure, once, that the server can take what the settings say.

        Raises:
            TransientFhirError: it cannot be asked now, or it says that it cannot.
        """
        if not self._is_capable:
            check_capability(self._transport.read_metadata(), self._destination)
            self._is_capable = True

    def deliver(self, finished: FinishedJob, progress: Progress | None = None) -> Mapping[str, str]:
        """Deliver the report and return its ids on the server (`report`, `observations`).

        A report that the server already has is not sent again: the same ids come back. One that
        tells an earlier end of the same job is updated, unless a person has signed it.
        `progress` is what an earlier try has made, and where to keep what this one makes. A PDF
        that is too large for an EHR stays away, and the receipt says so (`left_out`).

        What newer work has replaced (`withdrawn_at`) is withdrawn instead (`withdrawn`: which
        resources were changed).

        Raises:
            TransientFhirError: try again later.
            PermanentFhirError: the server refused it, or it cannot be told.
            PatientNotResolved: nothing was sent; the right patient is not known yet.
        """
        self.check_capability()
        if finished.withdrawn_at is not None:
            return self._withdraw(finished)
        made = progress or Progress()
        if self._destination.mode == "transaction":
            return {**self._by_transaction(finished, made), **told_left_out(finished)}
        entries = self._entries(finished)
        create_one_by_one(self._transport, entries, made)
        return {**receipt_of(_places(entries, made)), **told_left_out(finished)}

    def _by_transaction(self, finished: FinishedJob, progress: Progress) -> Mapping[str, str]:
        delivered = self._delivered_report(finished)
        if delivered is not None and not _is_outdated(delivered, finished):
            self._check_subject(delivered, finished)
            return _receipt_of_report(delivered)
        entries = self._entries(finished)
        if delivered is not None:
            entries = as_updates(self._transport, entries)
        for part in parts_of(entries, self._destination.most_entries):
            if not all(string(each, "fullUrl") in progress.places for each in part):
                progress.add(self._transact(part, progress.places))
        return receipt_of(_places(entries, progress))

    def _check_subject(self, delivered: Json, finished: FinishedJob) -> None:
        """A report that arrived unseen may name whom the study belonged to then."""
        patient = resolve_patient(self._transport, finished.study.header.patient, self._destination)
        if not patient.is_subject_of(delivered):
            raise of_another_patient()

    def _withdraw(self, finished: FinishedJob) -> Mapping[str, str]:
        """Mark what was told as entered in error; the report comes last, so that a repeat goes on.

        A step is seen in what the server has, so that no progress is kept.
        """
        is_document = self._destination.mode == "documentreference"
        report = ("DocumentReference", DOCUMENT_ROLE) if is_document else _REPORT
        identity = result_identity(finished, self._destination.identifier_system)
        entries = withdrawals(self._transport, finished, identity, report)
        changed = [each["resource"] for each in entries]
        if changed and not is_document:
            name = self._organization_name
            entries.insert(len(entries) - 1, provenance_entry(changed, finished, name))
        self._rewrite([*self._study_without_withdrawn(finished), *entries])
        return {"withdrawn": " ".join(place_of(each) for each in changed)}

    def _study_without_withdrawn(self, finished: FinishedJob) -> list[Json]:
        """Our ImagingStudy, where it lists what is withdrawn; a document has none."""
        if self._destination.mode == "documentreference":
            return []
        entry = without_withdrawn_objects(self._transport, finished, self._destination)
        return [entry] if entry else []

    def _rewrite(self, entries: list[Json]) -> None:
        """Write what replaces, or follows, what the server has."""
        if self._destination.mode != "transaction":
            write_one_by_one(self._transport, entries)
        elif entries:
            for part in parts_of(entries, self._destination.most_entries):
                self._transact(part, {})

    def _transact(self, part: list[Json], places: Mapping[str, str]) -> dict[str, str]:
        entry = with_places(part, places)
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
        is_guarded = any("ifMatch" in child(each, "request") for each in part)
        text = json.dumps(bundle, ensure_ascii=False)
        answer = self._transport.transaction(text, is_guarded=is_guarded)
        return places_of_answer(part, answer)

    def _entries(self, finished: FinishedJob) -> list[Json]:
        """What is told, as the entries of a Bundle."""
        build = build_bundle if self._destination.mode != "documentreference" else build_document
        references = resolve_references(self._transport, finished, self._destination)
        bundle = build(
            finished,
            content=self._destination,
            organization_name=self._organization_name,
            timezone=self._timezone,
            references=references,
            issued=finished_at(finished),
        )
        entries = objects(json.loads(bundle_json(bundle))["entry"])
        return with_renewed_study(entries, references.own_study)

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
    return {"report": f"DiagnosticReport/{report['id']}", "observations": " ".join(references)}


def _is_outdated(report: Json, finished: FinishedJob) -> bool:
    outcome = outcome_of(finished)
    told = {"status": report_status(outcome).value, "conclusion": conclusion(finished, outcome)}
    return is_outdated(report, told)


def _places(entries: list[Json], progress: Progress) -> list[str]:
    places = progress.places
    return [places[string(each, "fullUrl")] for each in entries]
