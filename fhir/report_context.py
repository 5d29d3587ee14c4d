"""What the resources of one report share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from fhir.identifiers import ResultIdentity
from fhir.resources.R4B.reference import Reference


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
