"""Two generations of one study, told to an EHR that has no ImagingStudy of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fhir.client import FhirClient
from storage.records import FinishedJob, ObjectKind
from tests.integration.fhir.ehr import destination
from tests.peers.fhir_server import FhirServer, Json
from tests.unit.fhir.finished_jobs import FINISHED_AT, result_object, with_findings

MODES: dict[str, dict[str, Any]] = {
    "transaction": {"mode": "transaction"},
    "parts of two": {"mode": "transaction", "most_entries": 2},
    "sequential": {"mode": "sequential"},
}
IMAGES = "1.2.826.0.1.3680043.8.498.1001.1"


def deliver(base_url: str, finished: FinishedJob, **settings: Any) -> Mapping[str, str]:
    ehr = destination(base_url, **{"imaging_study": "create", **settings})
    with FhirClient(ehr, "Radiology", "UTC") as client:
        return client.deliver(finished)


def with_images(finished: FinishedJob, count: int) -> FinishedJob:
    (series,) = finished.series
    return replace(finished, series=(replace(series, instance_count=count),))


def another(finished: FinishedJob, digest: str, first_number: int) -> FinishedJob:
    """Another result of the same study, with objects of its own."""
    objects = (
        result_object(ObjectKind.SEG, first_number),
        result_object(ObjectKind.SR, first_number + 1),
    )
    return replace(finished, job=replace(finished.job, input_digest=digest * 32), objects=objects)


def older() -> FinishedJob:
    return with_images(with_findings(), 38)


def newer() -> FinishedJob:
    """The same study after two more images, analysed again."""
    return with_images(another(with_findings(), "ef", 9003), 40)


def withdrawn(finished: FinishedJob) -> FinishedJob:
    return replace(finished, withdrawn_at=FINISHED_AT + timedelta(hours=2))


def study_on(server: FhirServer) -> Json:
    (study,) = server.all("ImagingStudy")
    return study


def place_on(server: FhirServer) -> str:
    return f"ImagingStudy/{study_on(server)['id']}"


def listed(server: FhirServer) -> dict[str, int]:
    return {each["uid"]: each["numberOfInstances"] for each in study_on(server)["series"]}


def of_result(finished: FinishedJob) -> dict[str, int]:
    return {each.series_instance_uid: 1 for each in finished.objects}
