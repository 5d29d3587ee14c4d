"""A finished job told as a bundle, and what is in it."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fhir.resources.R4B.bundle import Bundle

from config.settings import FhirContent, PatientSystem
from fhir.bundle import build_bundle
from fhir.references import logical_references
from storage.records import FinishedJob
from tests.unit.fhir.finished_jobs import (
    FINISHED_AT,
)

Kind = TypeVar("Kind")

CONTENT = FhirContent(
    patient_systems=(PatientSystem(issuer="HOSPITAL", system="urn:oid:1.2.3"),),
    accession_system="urn:oid:1.2.4",
)

CREATING = CONTENT.model_copy(update={"imaging_study": "create"})


def told(finished: FinishedJob, content: FhirContent = CONTENT) -> Bundle:
    return build_bundle(
        finished,
        content=content,
        organization_name="Radiology",
        timezone="Europe/Berlin",
        references=logical_references(finished, content),
        issued=FINISHED_AT,
    )


def only(bundle: Bundle, kind: type[Kind]) -> Kind:
    (found,) = every(bundle, kind)
    return found


def every(bundle: Bundle, kind: type[Kind]) -> list[Kind]:
    return [each.resource for each in bundle.entry or [] if isinstance(each.resource, kind)]


def as_json(resource: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(resource.model_dump_json())
    return value
