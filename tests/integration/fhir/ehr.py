"""What an EHR holds before a report arrives, as FHIR resources."""

from __future__ import annotations

from typing import Any

from config.settings import FhirDestination, PatientSystem
from tests.unit.fhir.finished_jobs import STUDY_UID

Json = dict[str, Any]

PATIENT_SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
ACCESSION_SYSTEM = "urn:oid:1.2.36.146.595.217.0.2"


def patient(patient_id: str = "p1", mrn: str = "MRN-4711", **changes: Any) -> Json:
    """The patient of the test jobs, as the EHR writes her."""
    return {
        "resourceType": "Patient",
        "id": patient_id,
        "active": True,
        "identifier": [{"system": PATIENT_SYSTEM, "value": mrn}],
        "name": [{"family": "Müller", "given": ["Anna"]}],
        "birthDate": "1961-05-17",
        **changes,
    }


def replaced_by(patient_id: str) -> list[Json]:
    """The link of a record that was merged into another."""
    return [{"type": "replaced-by", "other": {"reference": f"Patient/{patient_id}"}}]


def order(order_id: str = "o1", patient_id: str = "p1") -> Json:
    """The order of the study."""
    return {
        "resourceType": "ServiceRequest",
        "id": order_id,
        "identifier": [{"system": ACCESSION_SYSTEM, "value": "ACC-0815"}],
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{patient_id}"},
    }


def imaging_study(study_id: str = "s1", patient_id: str = "p1") -> Json:
    """The study, known to the EHR from elsewhere."""
    return {
        "resourceType": "ImagingStudy",
        "id": study_id,
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"}],
        "status": "available",
        "subject": {"reference": f"Patient/{patient_id}"},
    }


def destination(base_url: str, **settings: Any) -> FhirDestination:
    """The EHR as a destination."""
    defaults = {
        "type": "fhir",
        "name": "ehr",
        "base_url": base_url,
        "timeout_s": 10,
        "patient_systems": (PatientSystem(issuer="HOSPITAL", system=PATIENT_SYSTEM),),
        "accession_system": ACCESSION_SYSTEM,
    }
    return FhirDestination.model_validate(defaults | settings)
