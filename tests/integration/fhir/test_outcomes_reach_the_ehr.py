from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir.client import FhirClient
from fhir.errors import PermanentFhirError
from storage.records import FinishedJob, JobState
from tests.integration.fhir.ehr import destination, patient
from tests.peers.fhir_server import FhirServer
from tests.unit.fhir.finished_jobs import (
    FINISHED_AT,
    that_no_pipeline_took,
    with_findings,
    without_result,
)

pytestmark = pytest.mark.peer("fhir_server")

MODES: dict[str, dict[str, Any]] = {
    "transaction": {"mode": "transaction"},
    "parts of two": {"mode": "transaction", "most_entries": 2},
    "sequential": {"mode": "sequential"},
}
WITHOUT_RESULT = {
    "not processed": without_result(),
    "failed": without_result(JobState.FAILED, "inference_failed", "the model broke"),
    "no pipeline": that_no_pipeline_took(),
}
WITHDRAWN_AT = FINISHED_AT + timedelta(hours=2)
KINDS = ("Device", "Observation", "DiagnosticReport", "Provenance")


def deliver(server: FhirServer, finished: FinishedJob, **settings: Any) -> Mapping[str, str]:
    with FhirClient(destination(server.base_url, **settings), "Radiology", "UTC") as client:
        return client.deliver(finished)


def counts(server: FhirServer) -> dict[str, int]:
    return {kind: len(server.all(kind)) for kind in KINDS}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WITHOUT_RESULT)
def test_an_end_without_a_result_arrives_once(server: FhirServer, mode: str, name: str) -> None:
    server.reset([patient()])
    first = deliver(server, WITHOUT_RESULT[name], **MODES[mode])
    second = deliver(server, WITHOUT_RESULT[name], **MODES[mode])

    assert first == second
    assert counts(server) == {
        "Device": 0,
        "Observation": 0,
        "DiagnosticReport": 1,
        "Provenance": 1,
    }
    report = server.read(first["report"])
    assert report["status"] == "cancelled"
    assert server.errors_of(report) == []
    assert server.versions(first["report"]) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_later_success_replaces_the_report_of_a_failure(server: FhirServer, mode: str) -> None:
    server.reset([patient()])
    failed = deliver(server, WITHOUT_RESULT["failed"], **MODES[mode])
    done = deliver(server, with_findings(), **MODES[mode])
    again = deliver(server, with_findings(), **MODES[mode])

    assert failed["report"] == done["report"] == again["report"]
    report = server.read(done["report"])
    assert report["status"] == "preliminary"
    assert len(report["result"]) == 2
    assert "No AI result" not in report["conclusion"]
    assert server.versions(done["report"]) == 2
    assert counts(server)["Observation"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_report_that_a_person_has_signed_is_not_touched(server: FhirServer, mode: str) -> None:
    server.reset([patient()])
    place = deliver(server, WITHOUT_RESULT["failed"], **MODES[mode])["report"]
    signed = server.read(place) | {"status": "final"}
    server.reset([patient(), signed])

    deliver(server, with_findings(), **MODES[mode])
    assert server.read(place)["status"] == "final"


def test_a_document_of_a_failure_is_replaced_by_that_of_a_success(server: FhirServer) -> None:
    server.reset([patient()])
    first = deliver(server, WITHOUT_RESULT["failed"], mode="documentreference")
    before = server.read(first["report"])
    assert "Device" not in str(before["author"])
    second = deliver(server, with_findings(), mode="documentreference")

    assert first == second
    (document,) = server.all("DocumentReference")
    assert document["content"] != before["content"]
    assert server.errors_of(document) == []


def withdrawn(finished: FinishedJob | None = None) -> FinishedJob:
    return replace(finished or with_findings(), withdrawn_at=WITHDRAWN_AT)


@pytest.mark.parametrize("mode", MODES)
def test_a_replaced_result_is_withdrawn_once_with_all_its_observations(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient()])
    place = deliver(server, with_findings(), **MODES[mode])["report"]
    receipt = deliver(server, withdrawn(), **MODES[mode])
    again = deliver(server, withdrawn(), **MODES[mode])

    assert place in receipt["withdrawn"].split()
    assert again == {"withdrawn": ""}
    report = server.read(place)
    told = [report, *server.all("Observation")]
    assert [each["status"] for each in told] == ["entered-in-error"] * 3
    assert report["conclusion"].startswith("Withdrawn:")
    assert "mL" not in report["text"]["div"]
    assert server.versions(place) == 2
    assert [server.errors_of(each) for each in told] == [[], [], []]


@pytest.mark.parametrize("mode", ["transaction", "documentreference"])
@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("images_rejected", "the images that this result rests on were taken back"),
        ("result_rejected", "this result was rejected in the image archive"),
    ],
)
def test_a_withdrawal_without_newer_work_promises_none(
    server: FhirServer, mode: str, reason: str, why: str
) -> None:
    server.reset([patient()])
    place = deliver(server, with_findings(), mode=mode)["report"]
    job = replace(with_findings().job, state=JobState.SUPERSEDED, reason_code=reason)
    deliver(server, withdrawn(replace(with_findings(), job=job)), mode=mode)

    report = server.read(place)
    assert report.get("conclusion", report.get("description")) == f"Withdrawn: {why}."
    assert "newer work" not in str(report)
    assert server.errors_of(report) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_withdrawal_says_when_and_by_whom(server: FhirServer, mode: str) -> None:
    server.reset([patient()])
    place = deliver(server, with_findings(), **MODES[mode])["report"]
    deliver(server, withdrawn(), **MODES[mode])
    deliver(server, withdrawn(), **MODES[mode])

    made, taken_back = sorted(server.all("Provenance"), key=lambda each: each["recorded"])
    assert "activity" not in made
    assert taken_back["activity"]["coding"][0]["code"] == "NULLIFY"
    assert taken_back["recorded"].startswith("2025-03-04T11:31:12")
    assert taken_back["target"][0]["reference"] == place
    assert len(taken_back["target"]) == 3


@pytest.mark.parametrize("mode", MODES)
def test_a_withdrawn_result_that_is_current_again_is_told_under_its_ids(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient()])
    first = deliver(server, with_findings(), **MODES[mode])
    deliver(server, withdrawn(), **MODES[mode])
    again = deliver(server, with_findings(), **MODES[mode])

    assert again == first
    told = [server.read(first["report"]), *server.all("Observation")]
    assert [each["status"] for each in told] == ["preliminary"] * 3


@pytest.mark.parametrize("mode", MODES)
def test_what_never_arrived_needs_no_withdrawal(server: FhirServer, mode: str) -> None:
    server.reset([patient()])
    assert deliver(server, withdrawn(), **MODES[mode]) == {"withdrawn": ""}
    assert sum(counts(server).values()) == 0


def test_a_signed_report_is_left_to_the_person_who_signed_it(server: FhirServer) -> None:
    server.reset([patient()])
    place = deliver(server, with_findings())["report"]
    server.reset([patient(), server.read(place) | {"status": "final", "result": []}])

    with pytest.raises(PermanentFhirError, match="take it back in the EHR"):
        deliver(server, withdrawn())
    assert server.read(place)["status"] == "final"


def test_a_document_is_withdrawn_too(server: FhirServer) -> None:
    server.reset([patient()])
    place = deliver(server, with_findings(), mode="documentreference")["report"]
    deliver(server, withdrawn(), mode="documentreference")

    document = server.read(place)
    assert (document["status"], document["docStatus"]) == ("entered-in-error",) * 2
    assert server.errors_of(document) == []


def test_the_report_of_a_failure_is_withdrawn_as_well(server: FhirServer) -> None:
    server.reset([patient()])
    place = deliver(server, WITHOUT_RESULT["failed"])["report"]
    deliver(server, withdrawn(WITHOUT_RESULT["failed"]))
    assert server.read(place)["status"] == "entered-in-error"
