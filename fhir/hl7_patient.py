"""The patient as PID (HL7 v2.5.1, 3.4.2): identified as the images say, never looked up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from config.settings import PatientAuthority
from fhir.clean_text import clean
from fhir.errors import PatientNotResolved, PatientProblem
from fhir.hl7_text import REPETITION, components, segment, text, timestamp
from fhir.study_time import day_of
from storage.dicom_records import PatientIdentity

_MEDICAL_RECORD_NUMBER: Final = "MR"
# A PN has up to three component groups (PS3.5 6.2.1); XPN-8 says of each how it is written.
_REPRESENTATIONS: Final = ("A", "I", "P")
_NO_NAME: Final = REPETITION + components("", "", "", "", "", "", "U")
"""What stands in PID-5, which must not be empty, where nobody knows the name (3.4.2.5)."""
_SEXES: Final = frozenset({"F", "M", "O"})


def patient_segment(patient: PatientIdentity, authorities: Iterable[PatientAuthority]) -> str:
    """PID with Patient ID and its assigning authority, name, birth date and sex.

    Raises:
        PatientNotResolved: no Patient ID, or one of an issuer that the settings do not list.
    """
    number = text(patient.patient_id)
    if not number:
        problem = PatientProblem.PATIENT_ID_MISSING
        raise PatientNotResolved(problem, "the study has no Patient ID")
    authority = _assigning_authority(patient.issuer_of_patient_id.strip(), tuple(authorities))
    fields = {
        1: "1",
        3: components(number, "", "", authority, _MEDICAL_RECORD_NUMBER),
        5: _names(patient.patient_name),
        7: timestamp(day_of(patient.birth_date)),
        8: _sex(patient.sex),
    }
    return segment("PID", fields)


def _assigning_authority(issuer: str, authorities: tuple[PatientAuthority, ...]) -> str:
    """An HD in CX-4; the issuer itself where the settings list none at all."""
    if not authorities:
        return text(issuer)
    named = {entry.issuer: entry for entry in authorities}
    entry = named.get(issuer)
    if entry is None:
        problem = PatientProblem.NO_IDENTIFIER_SYSTEM
        raise PatientNotResolved(problem, "patient_authorities does not list this issuer")
    if entry.oid is None:
        return text(entry.namespace)
    return "&".join((text(entry.namespace), entry.oid, "ISO"))


def _names(patient_name: str) -> str:
    """PN to XPN: DICOM has prefix before suffix, HL7 suffix before prefix."""
    groups = zip(patient_name.split("="), _REPRESENTATIONS, strict=False)
    known = (_name(group, kind) for group, kind in groups if clean(group.replace("^", " ")))
    return REPETITION.join(known) or _NO_NAME


def _name(group: str, representation: str) -> str:
    parts = [text(part) for part in group.split("^")[:5]]
    family, given, middle, prefix, suffix = parts + [""] * (5 - len(parts))
    return components(family, given, middle, suffix, prefix, "", "", representation)


def _sex(value: str) -> str:
    """Table 0001; what DICOM leaves empty is unknown."""
    code = value.strip().upper()
    return code if code in _SEXES else "U"
