"""Identifiers of our own results, and those that DICOM gives.

Everything here is a pure function of the job's digests: the same job gives the same identifiers
and the same `fullUrl`s, so a repeated delivery finds what the first one made.

A report is identified per result (study, pipeline digest, input digest). A newer generation of
the same study is another result and so another report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid5

from fhir.clean_text import clean
from fhir.codes import System, concept
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.identifier import Identifier
from storage.records import FinishedJob, MeasurementRecord

NAMESPACE: Final = UUID("5b1e6f0a-64d7-5c0b-9f52-3d1a8e0c7b46")
"""Name space of our name-based UUIDs; never changed, or repeats would not be recognised."""


@dataclass(frozen=True, slots=True)
class ResultIdentity:
    """Names everything that one job result becomes in FHIR."""

    system: str
    key: str

    def uuid(self, role: str) -> UUID:
        """The name-based UUID of one resource of this result."""
        return uuid5(NAMESPACE, f"{self.key}\x1f{role}")

    def full_url(self, role: str) -> str:
        """The `Bundle.entry.fullUrl` of one resource of this result."""
        return f"urn:uuid:{self.uuid(role)}"

    def identifier(self, role: str) -> Identifier:
        """The business identifier of one resource of this result."""
        return Identifier(system=self.system, value=str(self.uuid(role)))


def result_identity(finished: FinishedJob, system: str) -> ResultIdentity:
    """The identity of a job's result under the site's identifier system."""
    job = finished.job
    parts = [job.study_instance_uid, job.pipeline_digest, job.input_digest]
    if not job.pipeline_name:
        # No pipeline took this generation of the study; it has no digests to tell it from others.
        parts.append(str(job.generation))
    return ResultIdentity(system=system, key="\x1f".join(parts))


def measurement_role(measurement: MeasurementRecord) -> str:
    """The role of an Observation: one per quantity of a tracked structure."""
    quantity = measurement.quantity
    return f"observation {measurement.tracking_uid} {quantity.scheme} {quantity.value}"


def dicom_uid(uid: str) -> Identifier:
    """A DICOM UID as FHIR writes it (R4 ImagingStudy, DICOM mapping)."""
    return Identifier(system=System.DICOM_UID, value=f"urn:oid:{uid}")


def study_identifier(study_instance_uid: str, system: str) -> Identifier:
    """What marks the ImagingStudy of a study as created by us; the same for every job."""
    own = uuid5(NAMESPACE, f"{study_instance_uid}\x1fimaging study")
    return Identifier(system=system, value=str(own))


def accession(number: str, system: str | None) -> Identifier | None:
    """An accession number as Identifier of type ACSN; None when the study has none."""
    value = clean(number)
    if value is None:
        return None
    kind: CodeableConcept = concept(System.V2_IDENTIFIER_TYPE, "ACSN", "Accession ID")
    return Identifier(type=kind, system=system or None, value=value)


def token(system: str, value: str) -> str:
    r"""A search token `system|value`, with `\`, `|`, `,` and `$` escaped (R4 search 3.1.1.4.2)."""
    return f"{_escaped(system)}|{_escaped(value)}"


def if_none_exist(identifier: Identifier) -> str:
    """The query of a conditional create; never holds an identifier of the patient."""
    wanted = token(str(identifier.system), str(identifier.value))
    return "identifier=" + quote(wanted, safe=":/|.-_~")


def _escaped(text: str) -> str:
    for special in "\\|,$":
        text = text.replace(special, f"\\{special}")
    return text
