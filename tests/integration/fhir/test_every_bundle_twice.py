"""Everything that a job can come to, in every mode, posted twice to a strict R4 server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.settings import FolderDestination
from fhir.client import FhirClient
from fhir.folder import deliver_to_folder
from storage.prior_records import PriorMeasurement, PriorResult
from storage.records import FinishedJob, JobState
from tests.integration.fhir.ehr import destination, imaging_study, order, patient
from tests.peers.fhir_server import FhirServer, Json
from tests.peers.fhir_terminology import unknown_codes
from tests.unit.fhir.finished_jobs import (
    FINISHED_AT,
    classified,
    for_review,
    measurement,
    that_no_pipeline_took,
    with_findings,
    without_findings,
    without_result,
)

pytestmark = pytest.mark.peer("fhir_server")

MOST_ENTRIES = 8
"""What some servers take in a transaction with conditional entries."""


def with_priors() -> FinishedJob:
    finished = with_findings()
    priors = tuple(
        PriorResult(
            day,
            "0.9.0",
            tuple(
                PriorMeasurement(each.tracking_identifier, each.quantity, each.unit, value, True)
                for each in finished.measurements
            ),
        )
        for day, value in (("20230102", 1.75), ("20240304", 1.25))
    )
    return replace(finished, priors=priors)


def of_many_structures() -> FinishedJob:
    found = tuple(measurement(f"Structure {each}", each) for each in range(1, 20))
    return replace(with_findings(), measurements=found)


ENDS: dict[str, FinishedJob] = {
    "findings": with_findings(),
    "no findings": without_findings(),
    "PDF": replace(with_findings(), report_pdf=b"%PDF-1.4 a page\n"),
    "priors": with_priors(),
    "for review": for_review(with_findings(), "mean entropy 0.4 is above 0.3"),
    "classes": classified(),
    "many structures": of_many_structures(),
    "refused": without_result(),
    "failed": without_result(JobState.FAILED, "inference_failed", "the model broke"),
    "no pipeline": that_no_pipeline_took(),
}
MODES: dict[str, dict[str, Any]] = {
    "transaction": {"mode": "transaction"},
    "parts of 8": {"mode": "transaction", "most_entries": MOST_ENTRIES},
    "sequential": {"mode": "sequential"},
    "documentreference": {"mode": "documentreference"},
}
EHRS: dict[str, list[Json]] = {
    "creates the study": [patient()],
    "knows study and order": [patient(), order(), imaging_study()],
}


def deliver(server: FhirServer, finished: FinishedJob, **settings: Any) -> Mapping[str, str]:
    ehr = destination(server.base_url, imaging_study="create", **settings)
    with FhirClient(ehr, "Radiology", "UTC") as client:
        return client.deliver(finished)


def all_of(server: FhirServer) -> list[Json]:
    kinds = (
        "Device",
        "ImagingStudy",
        "Observation",
        "DiagnosticReport",
        "DocumentReference",
        "Provenance",
    )
    return [resource for kind in kinds for resource in server.all(kind)]


def refusals(server: FhirServer) -> list[Json]:
    return [each for each in server.log if each["status"] >= 400]


@pytest.mark.parametrize("known", EHRS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_told_and_withdrawn_once_however_often(
    server: FhirServer, end: str, mode: str, known: str
) -> None:
    limit = {"mostConditional": MOST_ENTRIES} if mode == "parts of 8" else {}
    server.reset(EHRS[known], **limit)
    told = deliver(server, ENDS[end], **MODES[mode])
    made = all_of(server)

    assert deliver(server, ENDS[end], **MODES[mode]) == told
    assert all_of(server) == made
    assert {code for each in made for code in unknown_codes(each)} == set()

    withdrawn = replace(ENDS[end], withdrawn_at=FINISHED_AT + timedelta(hours=2))
    deliver(server, withdrawn, **MODES[mode])
    taken_back = all_of(server)
    assert deliver(server, withdrawn, **MODES[mode]) == {"withdrawn": ""}
    assert all_of(server) == taken_back
    assert {code for each in taken_back for code in unknown_codes(each)} == set()
    assert server.read(told["report"])["status"] == "entered-in-error"
    assert refusals(server) == []


def post_folder(server: FhirServer, finished: FinishedJob, settings: FolderDestination) -> None:
    """Write what is told and post the files as they are listed."""
    receipt = deliver_to_folder(finished, settings, "Radiology", "UTC")
    paths = sorted(settings.folder.iterdir())
    assert receipt["file"].split() == [path.name for path in paths]
    for path in paths:
        bundle = json.loads(path.read_text("utf-8"))
        assert server.errors_of(bundle) == []
        server.post(bundle)


@pytest.mark.parametrize("most_entries", [None, MOST_ENTRIES], ids=["one file", "parts of 8"])
@pytest.mark.parametrize("end", ENDS)
def test_the_files_of_a_folder_may_be_posted_twice_whatever_they_tell(
    server: FhirServer, end: str, most_entries: int | None, tmp_path: Path
) -> None:
    server.reset([patient()], mostConditional=most_entries or 0)
    folder = FolderDestination(
        type="folder",
        name="folder",
        folder=tmp_path,
        imaging_study="create",
        most_entries=most_entries,
    )
    post_folder(server, ENDS[end], folder)
    made = all_of(server)
    post_folder(server, ENDS[end], folder)
    assert all_of(server) == made
    assert {code for each in made for code in unknown_codes(each)} == set()

    withdrawn = replace(ENDS[end], withdrawn_at=FINISHED_AT + timedelta(hours=2))
    post_folder(server, withdrawn, folder)
    taken_back = all_of(server)
    post_folder(server, withdrawn, folder)
    assert all_of(server) == taken_back
    kinds = ("Observation", "DiagnosticReport")
    told = [each for each in taken_back if each["resourceType"] in kinds]
    assert {each["status"] for each in told} == {"entered-in-error"}
    assert len(taken_back) == len(made)


def test_parts_make_what_one_file_makes(server: FhirServer, tmp_path: Path) -> None:
    made = []
    for most_entries in (None, MOST_ENTRIES):
        server.reset([patient()])
        folder = FolderDestination(
            type="folder", name="folder", folder=tmp_path / "out", most_entries=most_entries
        )
        post_folder(server, of_many_structures(), folder)
        made.append([_without_ids(server, each) for each in all_of(server)])
    assert made[0] == made[1]
    assert len(made[0]) == 22


def _without_ids(server: FhirServer, resource: Json) -> Json:
    """A resource whose references name what they point at by its identifier."""

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        if not isinstance(value, dict):
            return value
        told = {name: named(each) for name, each in value.items() if name not in ("id", "meta")}
        if isinstance(value.get("reference"), str):
            told["reference"] = server.read(value["reference"]).get("identifier")
        return told

    bare: Json = named(resource)
    return bare


def test_a_code_that_nobody_publishes_is_noticed() -> None:
    stated = {
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "1234567"}]}],
        "interpretation": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                        "code": "MAYBE",
                    }
                ]
            }
        ],
        "code": {"coding": [{"system": "http://example.org", "code": "x"}]},
    }
    assert len(unknown_codes(stated)) == 3
