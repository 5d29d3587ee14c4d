"""What can go wrong when a result is told in FHIR; no text here ever holds patient data.

FhirError
 +- TransientFhirError   the same delivery may work later: no connection, time-outs, 5xx, and every
 |                       answer that says nothing about the report itself
 +- PermanentFhirError   the server refused the report itself, or it cannot be told in R4
 +- PatientNotResolved   no patient, or not surely the right one; waits, and is asked again later
"""

from __future__ import annotations

from enum import StrEnum


class PatientProblem(StrEnum):
    """Why a study could not be tied to exactly one patient of the EHR."""

    PATIENT_ID_MISSING = "patient_id_missing"
    NO_IDENTIFIER_SYSTEM = "no_identifier_system"
    PATIENT_NOT_FOUND = "patient_not_found"
    PATIENT_AMBIGUOUS = "patient_ambiguous"
    PATIENT_MISMATCH = "patient_mismatch"


class FhirError(Exception):
    """A delivery in FHIR failed; `code` is for tables, `text` for an operator."""

    def __init__(self, code: str, text: str) -> None:
        self.code = str(code)
        self.text = text
        super().__init__(f"{code}: {text}")


class TransientFhirError(FhirError):
    """Worth another try; `retry_after_s` is the server's own wish, where it sent one."""

    def __init__(self, code: str, text: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(code, text)


class PermanentFhirError(FhirError):
    """Not worth another try before a person has changed the settings, the job or the server."""


class PatientNotResolved(FhirError):
    """Nothing was sent, because the right patient is not known; `code` is a `PatientProblem`."""

    def __init__(self, problem: PatientProblem, text: str) -> None:
        super().__init__(problem.value, text)
