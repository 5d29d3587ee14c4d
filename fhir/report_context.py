"""What the resources of one report share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from config.settings import FhirContent
from fhir.identifiers import ResultIdentity, result_identity
from fhir.references import References, inside_bundle, organization
from fhir.resources.R4B.reference import Reference
from fhir.study_time import fhir_study_time, issued_at
from storage.records import FinishedJob

DEVICE_ROLE: Final = "device"
IMAGING_STUDY_ROLE: Final = "imaging study"


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Identity, references and times that ImagingStudy, Observations and report have in common.

    `effective` is when the images were made, `issued` (aware, UTC) when the job was finished.
    """

    identity: ResultIdentity
    subject: Reference
    device: Reference
    performer: Reference
    based_on: Reference | None
    imaging_study: Reference | None
    effective: datetime | date | None
    issued: datetime
    is_withdrawn: bool = False


def report_context(
    finished: FinishedJob,
    content: FhirContent,
    references: References,
    organization_name: str,
    *,
    timezone: str,
    issued: datetime,
) -> ReportContext:
    """What the resources of one job share; see `fhir.bundle.build_bundle` for the arguments."""
    identity = result_identity(finished, content.identifier_system)
    return ReportContext(
        identity=identity,
        subject=references.patient,
        device=inside_bundle("Device", identity.full_url(DEVICE_ROLE)),
        performer=organization(organization_name),
        based_on=references.based_on,
        imaging_study=_imaging_study(content, references, identity),
        effective=fhir_study_time(finished.study.header, timezone),
        issued=issued_at(issued),
        is_withdrawn=finished.withdrawn_at is not None,
    )


def creates_imaging_study(content: FhirContent, references: References) -> bool:
    """Whether the report makes an ImagingStudy of its own: the site says so, and none is there."""
    return content.imaging_study == "create" and references.imaging_study is None


def brings_imaging_study(content: FhirContent, references: References) -> bool:
    """Whether an ImagingStudy goes with the report: a new one, or the news of ours."""
    return creates_imaging_study(content, references) or references.own_study is not None


def _imaging_study(
    content: FhirContent, references: References, identity: ResultIdentity
) -> Reference | None:
    if creates_imaging_study(content, references):
        return inside_bundle("ImagingStudy", identity.full_url(IMAGING_STUDY_ROLE))
    return references.imaging_study
