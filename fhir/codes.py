"""Code systems, the values of required bindings that we write, and coded concepts.

`fhir.resources` does not check codes against value sets: whatever stands in a required binding
of R4 (hl7.org/fhir/R4) comes from an enum here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from fhir.clean_text import clean
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from storage.dicom_records import CodedConcept


class System(StrEnum):
    """Code and identifier systems by their URI; `REASON` is our own."""

    SNOMED_CT = "http://snomed.info/sct"
    LOINC = "http://loinc.org"
    DCM = "http://dicom.nema.org/resources/ontology/DCM"
    UCUM = "http://unitsofmeasure.org"
    DICOM_UID = "urn:dicom:uid"
    URI = "urn:ietf:rfc:3986"
    V2_DIAGNOSTIC_SERVICE = "http://terminology.hl7.org/CodeSystem/v2-0074"
    V2_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
    V3_OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
    V3_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
    REASON = "urn:radnode:reason"
    DATA_ABSENT_REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    V3_DATA_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
    PARTICIPANT_TYPE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


class DiagnosticReportStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/diagnostic-report-status: what no physician has read yet.

    `cancelled`: the analysis was not started, or not completed; `entered-in-error`: withdrawn.
    """

    PRELIMINARY = "preliminary"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered-in-error"


class ObservationStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/observation-status."""

    PRELIMINARY = "preliminary"
    ENTERED_IN_ERROR = "entered-in-error"


class ImagingStudyStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/imagingstudy-status."""

    AVAILABLE = "available"


class DeviceStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/device-status."""

    ACTIVE = "active"


class DeviceNameType(StrEnum):
    """http://hl7.org/fhir/ValueSet/device-nametype."""

    MODEL_NAME = "model-name"


class ProvenanceEntityRole(StrEnum):
    """http://hl7.org/fhir/ValueSet/provenance-entity-role."""

    SOURCE = "source"


class NarrativeStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/narrative-status."""

    GENERATED = "generated"


class BundleType(StrEnum):
    """http://hl7.org/fhir/ValueSet/bundle-type."""

    TRANSACTION = "transaction"


class DocumentReferenceStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/document-reference-status."""

    CURRENT = "current"


class DocumentStatus(StrEnum):
    """http://hl7.org/fhir/ValueSet/composition-status, for DocumentReference.docStatus."""

    PRELIMINARY = "preliminary"


class HttpVerb(StrEnum):
    """http://hl7.org/fhir/ValueSet/http-verb."""

    POST = "POST"
    PUT = "PUT"


SYSTEM_OF_DESIGNATOR: Final[Mapping[str, System]] = {
    "SCT": System.SNOMED_CT,
    "DCM": System.DCM,
    "LN": System.LOINC,
    "UCUM": System.UCUM,
}
"""Coding Scheme Designators (PS3.16 Table 8-1) that have an agreed URI in FHIR."""

_CODE: Final = re.compile(r"\S+(\s\S+)*")

NOT_REVIEWED: Final = "AI-generated, not reviewed by a physician."


def fhir_code(text: str) -> str | None:
    """The text where it is a `code` of R4, which has no two blanks together; else None."""
    found = clean(text)
    return found if found and _CODE.fullmatch(found) else None


def coding(system: System, code: str, display: str | None = None) -> Coding:
    """One code of a known system."""
    return Coding(system=system, code=code, display=display)


def concept(system: System, code: str, display: str) -> CodeableConcept:
    """One code of a known system as a CodeableConcept."""
    return CodeableConcept(coding=[coding(system, code, display)])


def from_dicom(coded: CodedConcept, text: str | None = None) -> CodeableConcept:
    """A DICOM code as a CodeableConcept; `text` (default: Code Meaning) is what people read.

    A code of a private scheme has no URI and stays text alone: no system is made up for it. So
    does what R4 does not take as a code.
    """
    meaning, code = clean(coded.meaning), fhir_code(coded.value)
    system = SYSTEM_OF_DESIGNATOR.get(coded.scheme)
    codings = [coding(system, code, meaning)] if system and code else None
    return CodeableConcept(coding=codings, text=text or meaning or clean(coded.value))


def asserted_by_ai() -> Coding:
    """Security label: what this resource says was asserted by artificial intelligence."""
    return coding(System.V3_OBSERVATION_VALUE, "AIAST", "Artificial Intelligence asserted")


def diagnostic_imaging_study() -> CodeableConcept:
    """LOINC 18748-4, the report code when nothing closer is known."""
    return concept(System.LOINC, "18748-4", "Diagnostic imaging study")


def radiology_categories() -> list[CodeableConcept]:
    """DiagnosticReport.category: LOINC as US Core asks, and the v2 service section."""
    return [
        concept(System.LOINC, "LP29684-5", "Radiology"),
        concept(System.V2_DIAGNOSTIC_SERVICE, "RAD", "Radiology"),
    ]
