"""References to what the EHR owns: patient, order, imaging study, organisation.

A reference is literal (`Patient/1`) once the server has been asked, else logical (an identifier
without a target). Nothing that the EHR owns is ever created or contained.
"""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import FhirContent
from fhir.clean_text import clean
from fhir.identifiers import accession, dicom_uid
from fhir.json_reading import Json
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.reference import Reference
from storage.dicom_records import PatientIdentity
from storage.records import FinishedJob


@dataclass(frozen=True, slots=True)
class References:
    """What a report points at; None leaves the reference out.

    `imaging_study` None with `FhirContent.imaging_study == "create"` means: put one in the Bundle.
    `own_study` is the server's, where it is one that we created and keep true.
    """

    patient: Reference
    based_on: Reference | None
    imaging_study: Reference | None
    own_study: Json | None = None


def logical_references(finished: FinishedJob, content: FhirContent) -> References:
    """References by identifier alone: what can be said without asking a server."""
    return References(
        patient=logical_patient(finished.study.header.patient, content),
        based_on=logical_order(finished, content),
        imaging_study=(
            logical_imaging_study(finished) if content.imaging_study == "reference" else None
        ),
    )


def logical_patient(patient: PatientIdentity, content: FhirContent) -> Reference:
    """The patient by Patient ID; without one, a reference that only says `Patient`."""
    value = clean(patient.patient_id)
    if value is None:
        return Reference(type="Patient")
    system = patient_identifier_system(patient, content)
    return Reference(type="Patient", identifier=Identifier(system=system, value=value))


def patient_identifier_system(patient: PatientIdentity, content: FhirContent) -> str | None:
    """The EHR's system for this issuer of Patient ID (0010,0021); None for an unlisted one.

    The entry with issuer "" is for studies without an issuer only: the same number from another
    issuer is another person.
    """
    systems = {entry.issuer: entry.system for entry in content.patient_systems}
    return systems.get(patient.issuer_of_patient_id.strip()) or None


def logical_order(finished: FinishedJob, content: FhirContent) -> Reference | None:
    """The order by accession number; None when the study has none."""
    identifier = accession(finished.study.header.accession_number, content.accession_system)
    if identifier is None:
        return None
    return Reference(type="ServiceRequest", identifier=identifier)


def logical_imaging_study(finished: FinishedJob) -> Reference:
    """The imaging study by Study Instance UID."""
    uid = finished.study.header.study_instance_uid
    return Reference(type="ImagingStudy", identifier=dicom_uid(uid))


def literal(resource_type: str, resource_id: str) -> Reference:
    """A resource that the server has shown to exist."""
    return Reference(type=resource_type, reference=f"{resource_type}/{resource_id}")


def inside_bundle(resource_type: str, full_url: str) -> Reference:
    """A resource of the same Bundle, by its `fullUrl`."""
    return Reference(type=resource_type, reference=full_url)


def organization(name: str) -> Reference:
    """The site by name: organisations are the EHR's to keep, none is created for us."""
    return Reference(type="Organization", display=clean(name) or "unnamed organization")
