from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fhir.client import FhirClient
from fhir.errors import PermanentFhirError, TransientFhirError
from fhir.progress import Progress
from storage.records import FinishedJob
from tests.integration.fhir.ehr import destination, patient
from tests.integration.fhir.scripted_answers import anna, answers, found, told
from tests.peers.fhir_server import FhirServer
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer
from tests.unit.fhir.finished_jobs import measurement, with_findings, without_findings

pytestmark = pytest.mark.peer("fhir_server")

WHOLE = {"Device": 1, "Observation": 2, "DiagnosticReport": 1, "Provenance": 1}
MODES: dict[str, dict[str, Any]] = {
    "sequential": {"mode": "sequential"},
    "parts of two": {"mode": "transaction", "most_entries": 2},
}


def deliver(
    base_url: str,
    finished: FinishedJob | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Mapping[str, str]:
    with FhirClient(destination(base_url, **settings), "Radiology", "UTC") as client:
        return client.deliver(finished or with_findings(), progress)


def counts(server: FhirServer) -> dict[str, int]:
    return {kind: len(server.all(kind)) for kind in WHOLE}


def many_structures(number: int) -> FinishedJob:
    found = (measurement(f"Structure {each}", each) for each in range(1, number + 1))
    return replace(with_findings(), measurements=tuple(found))


@contextmanager
def losing_an_answer(server: FhirServer, number: int) -> Iterator[str]:
    """A gateway before the server that carries everything on, and loses one answer to a write."""
    written = 0

    def answer(request: Request) -> Answer:
        nonlocal written
        url = server.base_url + request.path.removeprefix("/fhir")
        kept = {name: text for name, text in request.headers.items() if name == "Content-Type"}
        real = httpx.request(request.method, url, content=request.body, headers=kept)
        if request.method == "POST" and not request.path.endswith("/_search"):
            written += 1
            if written == number:
                return Answer(503)
        return Answer(real.status_code, real.content)

    with ScriptedHttpServer(answer) as gateway:
        yield gateway.base_url


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("job", [with_findings(), without_findings()], ids=["some", "none"])
def test_a_report_in_steps_arrives_whole_and_once(
    server: FhirServer, mode: str, job: FinishedJob
) -> None:
    server.reset([patient()])
    first = deliver(server.base_url, job, **MODES[mode])
    second = deliver(server.base_url, job, **MODES[mode])

    assert first == second
    assert counts(server) == WHOLE
    report = server.read(first["report"])
    assert [each["reference"] for each in report["result"]] == first["observations"].split()
    (provenance,) = server.all("Provenance")
    assert provenance["target"][0]["reference"] == first["report"]
    assert provenance["agent"][0]["who"]["reference"].startswith("Device/")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("remembers", [True, False], ids=["kept", "forgotten"])
def test_an_answer_that_was_lost_makes_nothing_twice(
    server: FhirServer, mode: str, lost: int, remembers: bool
) -> None:
    server.reset([patient()])
    kept: dict[str, str] = {}
    with losing_an_answer(server, lost) as gateway:
        with pytest.raises(TransientFhirError):
            deliver(gateway, progress=Progress(keep=kept.update), **MODES[mode])
        again = Progress(dict(kept)) if remembers else Progress()
        deliver(gateway, progress=again, **MODES[mode])
    assert counts(server) == WHOLE


@contextmanager
def working_late(server: FhirServer, number: int) -> Iterator[str]:
    """A gateway that gives one write up, and has it done all the same when all else is done."""
    late: list[Request] = []
    written = 0

    def forward(request: Request) -> Answer:
        url = server.base_url + request.path.removeprefix("/fhir")
        named = ("Content-Type", "If-None-Exist")
        kept = {name: text for name, text in request.headers.items() if name in named}
        real = httpx.request(request.method, url, content=request.body, headers=kept)
        return Answer(real.status_code, real.content)

    def answer(request: Request) -> Answer:
        nonlocal written
        written += request.method == "POST" and not request.path.endswith("/_search")
        if written == number and not late:
            late.append(request)
            return Answer(504)
        return forward(request)

    with ScriptedHttpServer(answer) as gateway:
        yield gateway.base_url
    forward(*late)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_write_that_was_given_up_and_is_done_late_makes_nothing_twice(
    server: FhirServer, number: int
) -> None:
    server.reset([patient()])
    with working_late(server, number) as gateway:
        with pytest.raises(TransientFhirError):
            deliver(gateway, mode="sequential", imaging_study="create")
        deliver(gateway, mode="sequential", imaging_study="create")
    assert counts(server) == WHOLE
    assert len(server.all("ImagingStudy")) == 1


def test_a_server_without_conditional_creates_gets_plain_ones() -> None:
    def answer(request: Request) -> Answer:
        kind = request.path.removeprefix("/fhir/")
        if request.method == "GET" or kind.endswith("/_search"):
            return answers(Patient=found(anna()))(request)
        return Answer(501) if "If-None-Exist" in request.headers else told({"id": kind}, 201)

    with ScriptedHttpServer(answer) as server:
        receipt = deliver(server.base_url, mode="sequential")
    assert receipt["report"] == "DiagnosticReport/DiagnosticReport"


def test_a_document_that_was_given_up_and_arrives_late_is_there_once(server: FhirServer) -> None:
    server.reset([patient()])
    with working_late(server, 1) as gateway:
        with pytest.raises(TransientFhirError):
            deliver(gateway, mode="documentreference")
        deliver(gateway, mode="documentreference")
    assert len(server.all("DocumentReference")) == 1


def test_what_a_step_made_is_kept_before_the_next_step(server: FhirServer) -> None:
    server.reset([patient()])
    kept: list[int] = []
    progress = Progress(keep=lambda receipt: kept.append(len(receipt)))
    deliver(server.base_url, progress=progress, mode="sequential")
    assert kept == [1, 2, 3, 4, 5]


def test_what_is_kept_is_not_even_searched_again(server: FhirServer) -> None:
    server.reset([patient()])
    progress = Progress()
    deliver(server.base_url, progress=progress, mode="sequential")
    before = len(server.log)
    deliver(server.base_url, progress=Progress(progress.receipt), mode="sequential")
    asked = [each["url"] for each in server.log[before:]]
    assert not any("Observation" in url or "DiagnosticReport" in url for url in asked)


def test_a_large_report_fits_a_server_that_takes_eight_entries(server: FhirServer) -> None:
    server.reset([patient()], mostConditional=8)
    job = many_structures(20)
    with pytest.raises(PermanentFhirError):
        deliver(server.base_url, job)
    receipt = deliver(server.base_url, job, most_entries=8)
    assert len(receipt["observations"].split()) == 20
    assert counts(server) == {**WHOLE, "Observation": 20}


@pytest.mark.parametrize("study", ["reference", "create", "omit"])
def test_a_document_is_valid_and_arrives_once(server: FhirServer, study: str) -> None:
    server.reset([patient()])
    settings: dict[str, Any] = {"mode": "documentreference", "imaging_study": study}
    first = deliver(server.base_url, **settings)
    second = deliver(server.base_url, **settings)

    assert first == second
    (document,) = server.all("DocumentReference")
    assert first == {"report": f"DocumentReference/{document['id']}", "observations": ""}
    assert document["docStatus"] == "preliminary"
    assert document["subject"]["reference"] == "Patient/p1"
    assert counts(server) == dict.fromkeys(WHOLE, 0)
    assert ("related" in document.get("context", {})) or study == "omit"


def test_the_document_is_a_page_that_says_what_was_found_by_whom(server: FhirServer) -> None:
    server.reset([patient()])
    deliver(server.base_url, mode="documentreference")
    (document,) = server.all("DocumentReference")
    attachment = document["content"][0]["attachment"]
    page = base64.b64decode(attachment["data"])
    digest = hashlib.sha1(page, usedforsecurity=False).digest()

    assert attachment["size"] == len(page)
    assert base64.b64decode(attachment["hash"]) == digest
    assert b"Anterior hippocampus, Volume</td><td>1.523 mL" in page
    assert b"not reviewed by a physician" in page
    assert "hippocampus_mr" in document["author"][0]["display"]


@pytest.mark.parametrize(
    ("mode", "rest", "lacks"),
    [
        ("transaction", {"interaction": [{"code": "batch"}]}, "transaction"),
        (
            "sequential",
            {"resource": [{"type": "Observation", "interaction": [{"code": "create"}]}]},
            "create of Device, create of DiagnosticReport, create of Provenance",
        ),
        (
            "documentreference",
            {"resource": [{"type": "DocumentReference", "interaction": [{"code": "read"}]}]},
            "create of DocumentReference",
        ),
    ],
    ids=["transaction", "sequential", "documentreference"],
)
def test_a_mode_that_the_server_rules_out_waits_with_the_reason(
    scripted: ScriptedHttpServer, mode: str, rest: dict[str, Any], lacks: str
) -> None:
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", **rest}],
    }
    scripted.answer = answers(metadata=told(statement), Patient=found(anna()))
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted.base_url, mode=mode)
    assert caught.value.code == "mode_impossible"
    assert lacks in caught.value.text
    assert [request.path for request in scripted.requests] == ["/fhir/metadata"]


@pytest.mark.parametrize("status", [400, 412, 422])
def test_a_resource_that_is_refused_ends_the_delivery(
    scripted: ScriptedHttpServer, status: int
) -> None:
    scripted.answer = answers(Patient=found(anna()), Device=told({}, status))
    scripted.answer = _searches_find_nothing_but(scripted.answer, status)
    with pytest.raises(PermanentFhirError) as caught:
        deliver(scripted.base_url, mode="sequential")
    assert caught.value.code == f"http_{status}"


def _searches_find_nothing_but(answer: Any, status: int) -> Any:
    def answered(request: Request) -> Answer:
        if request.path == "/fhir/Device/_search":
            return told({"resourceType": "Bundle", "type": "searchset", "total": 0})
        return answer(request)  # type: ignore[no-any-return]

    return answered


def test_an_answer_without_a_body_names_the_resource_by_its_location(
    scripted: ScriptedHttpServer,
) -> None:
    normal = answers(Patient=found(anna()))

    def answer(request: Request) -> Answer:
        if request.method == "POST" and not request.path.endswith("/_search"):
            kind = json.loads(request.body)["resourceType"]
            place = f"https://elsewhere.example/fhir/{kind}/{kind.lower()}-1/_history/1"
            return Answer(201, b"", {"Location": place})
        return normal(request)

    scripted.answer = answer
    receipt = deliver(scripted.base_url, mode="sequential")
    assert receipt["report"] == "DiagnosticReport/diagnosticreport-1"
