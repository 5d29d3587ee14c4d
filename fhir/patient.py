"""Finding the one patient of the EHR that a study belongs to; never made, never changed.

The identifier alone is not believed: birth date and family name are compared as well, and where
nothing can be compared the patient counts as not resolved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from config.settings import FhirContent
from fhir.clean_text import clean
from fhir.errors import PatientNotResolved, PatientProblem
from fhir.json_reading import Json, child, objects, string
from fhir.person_name import family_names_of_dicom, family_names_of_fhir
from fhir.references import patient_identifier_system
from fhir.search import Searchable, search_by_id, search_by_identifier
from storage.dicom_records import PatientIdentity

_DICOM_DATE: Final = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})", re.ASCII)
_FHIR_DATE: Final = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ResolvedPatient:
    """The patient's logical id, and the ids of records that were merged into it."""

    patient_id: str
    merged_ids: frozenset[str] = frozenset()

    def is_subject_of(self, resource: Json) -> bool:
        """Whether a resource names this patient; one that names nobody literally may be theirs."""
        reference = string(child(resource, "subject"), "reference")
        if not reference:
            return True
        kind, _, patient_id = reference.partition("/_history/")[0].rpartition("/")
        known = {self.patient_id, *self.merged_ids}
        return kind.rpartition("/")[2] == "Patient" and patient_id in known


def resolve_patient(
    server: Searchable, patient: PatientIdentity, content: FhirContent
) -> ResolvedPatient:
    """The patient of the EHR with this Patient ID.

    Raises:
        PatientNotResolved: no patient, several, or one with other demographics.
    """
    value = clean(patient.patient_id)
    if value is None:
        text = "the study has no Patient ID"
        raise PatientNotResolved(PatientProblem.PATIENT_ID_MISSING, text)
    system = patient_identifier_system(patient, content)
    if system is None:
        text = "patient_systems names no system for this issuer of Patient ID, and no default"
        raise PatientNotResolved(PatientProblem.NO_IDENTIFIER_SYSTEM, text)
    hits = search_by_identifier(server, "Patient", system, value)
    if hits.has_more:
        raise _ambiguous()
    found, merged_ids = _surviving(server, hits.resources)
    _check_demographics(found, patient)
    return ResolvedPatient(found["id"], merged_ids)


def is_merged_into(server: Searchable, former_id: str, patient_id: str) -> bool:
    """Whether the EHR has merged one record into another since."""
    former = search_by_id(server, "Patient", former_id).only
    return former is not None and _replaced_by(former) == [patient_id]


def _surviving(server: Searchable, hits: tuple[Json, ...]) -> tuple[Json, frozenset[str]]:
    """The one record left when merged ones are followed (Patient.link `replaced-by`, once)."""
    survivors: dict[str, Json] = {}
    merged_ids = set()
    for hit in hits:
        survivor = _followed(server, hit)
        survivors[survivor["id"]] = survivor
        if survivor is not hit:
            merged_ids.add(hit["id"])
    if len(survivors) > 1:
        raise _ambiguous()
    if not survivors:
        text = "the EHR has no patient with this Patient ID"
        raise PatientNotResolved(PatientProblem.PATIENT_NOT_FOUND, text)
    (survivor,) = survivors.values()
    if survivor.get("active") is False:
        text = "the EHR's record of this patient is inactive"
        raise PatientNotResolved(PatientProblem.PATIENT_NOT_FOUND, text)
    return survivor, frozenset(merged_ids)


def _followed(server: Searchable, hit: Json) -> Json:
    targets = _replaced_by(hit)
    if not targets:
        return hit
    found = search_by_id(server, "Patient", targets[0]).only if len(targets) == 1 else None
    if found is None or _replaced_by(found):
        text = "the EHR's record was merged, and the one it was merged into cannot be told"
        raise PatientNotResolved(PatientProblem.PATIENT_AMBIGUOUS, text)
    return found


def _replaced_by(patient: Json) -> list[str]:
    links = (each for each in objects(patient.get("link")) if each.get("type") == "replaced-by")
    return [string(child(link, "other"), "reference").rpartition("/")[2] for link in links]


def _check_demographics(found: Json, patient: PatientIdentity) -> None:
    agreements = [_birth_dates_agree(found, patient), _family_names_agree(found, patient)]
    if False in agreements:
        text = "birth date or family name differ between the study and the EHR"
        raise PatientNotResolved(PatientProblem.PATIENT_MISMATCH, text)
    if True not in agreements:
        text = "neither birth date nor family name can be compared between the study and the EHR"
        raise PatientNotResolved(PatientProblem.PATIENT_MISMATCH, text)


def _birth_dates_agree(found: Json, patient: PatientIdentity) -> bool | None:
    """To the precision that the EHR has (a FHIR date may be a year); None if not comparable."""
    match = _DICOM_DATE.fullmatch(patient.birth_date.strip())
    known = string(found, "birthDate")
    if match is None or _FHIR_DATE.fullmatch(known) is None:
        return None
    return "-".join(match.groups()).startswith(known)


def _family_names_agree(found: Json, patient: PatientIdentity) -> bool | None:
    ours, theirs = family_names_of_dicom(patient.patient_name), family_names_of_fhir(found)
    if not ours or not theirs:
        return None
    return not ours.isdisjoint(theirs)


def _ambiguous() -> PatientNotResolved:
    text = "the EHR has several patients with this Patient ID"
    return PatientNotResolved(PatientProblem.PATIENT_AMBIGUOUS, text)
