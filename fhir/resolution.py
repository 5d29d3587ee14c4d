"""Asking the server for what a report points at, so that it can be referred to literally."""

from __future__ import annotations

from config.settings import FhirContent
from fhir.clean_text import clean
from fhir.errors import PatientNotResolved, PatientProblem
from fhir.json_reading import Json
from fhir.patient import ResolvedPatient, resolve_patient
from fhir.references import References, literal, logical_imaging_study, logical_order
from fhir.resources.R4B.reference import Reference
from fhir.search import Hits, Searchable, search_by_identifier
from fhir.study_renewal import imaging_studies, is_own_study
from storage.records import FinishedJob


def resolve_references(
    server: Searchable, finished: FinishedJob, content: FhirContent
) -> References:
    """Patient, order and imaging study as the server knows them.

    Raises:
        PatientNotResolved: not surely one patient, or the server ties the study's accession
            number or Study Instance UID to somebody else.
    """
    patient = resolve_patient(server, finished.study.header.patient, content)
    based_on = _order(server, finished, content, patient)
    found = _studies(server, finished, content)
    own = _own_study(found, finished, content)
    # Ours is corrected with the study, where that was sent under another patient before.
    study = literal("ImagingStudy", own["id"]) if own else None
    return References(
        patient=literal("Patient", patient.patient_id),
        based_on=based_on,
        imaging_study=study or _imaging_study(found, finished, content, patient),
        own_study=own,
    )


def _order(
    server: Searchable, finished: FinishedJob, content: FhirContent, patient: ResolvedPatient
) -> Reference | None:
    """The order: literal when found, by accession number when not, none when several."""
    number = clean(finished.study.header.accession_number)
    if number is None or not content.accession_system:
        return logical_order(finished, content)
    hits = search_by_identifier(server, "ServiceRequest", content.accession_system, number)
    if hits.are_many:
        return None
    if hits.only is None:
        return logical_order(finished, content)
    return _of_patient(hits.only, patient)


def _studies(server: Searchable, finished: FinishedJob, content: FhirContent) -> Hits | None:
    """What the server has of the study; None where nobody wants to know."""
    return None if content.imaging_study == "omit" else imaging_studies(server, finished)


def _imaging_study(
    hits: Hits | None, finished: FinishedJob, content: FhirContent, patient: ResolvedPatient
) -> Reference | None:
    """The study: literal when found; else by UID, or None where it shall be created or omitted."""
    if hits is None:
        return None
    if hits.only is not None:
        return _of_patient(hits.only, patient)
    # Several: creating another, or choosing one, would be a guess.
    if content.imaging_study == "create" and not hits.are_many:
        return None
    return logical_imaging_study(finished)


def _own_study(hits: Hits | None, finished: FinishedJob, content: FhirContent) -> Json | None:
    """The one ImagingStudy that the server has, where it is ours."""
    found = hits.only if hits is not None else None
    return found if found is not None and is_own_study(found, finished, content) else None


def _of_patient(resource: Json, patient: ResolvedPatient) -> Reference:
    kind = resource["resourceType"]
    if not patient.is_subject_of(resource):
        text = f"the EHR's {kind} for this study belongs to another patient"
        raise PatientNotResolved(PatientProblem.PATIENT_MISMATCH, text)
    return literal(kind, resource["id"])
