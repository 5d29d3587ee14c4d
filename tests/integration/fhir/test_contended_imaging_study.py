"""Two nodes at one study, a broken delivery, a physician who signs: nobody's news is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from fhir.errors import PermanentFhirError, TransientFhirError
from storage.records import FinishedJob
from tests.integration.fhir.ehr import patient
from tests.integration.fhir.generations import (
    IMAGES,
    MODES,
    another,
    deliver,
    listed,
    newer,
    of_result,
    older,
    with_images,
    withdrawn,
)
from tests.peers.fhir_server import FhirServer
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer
from tests.unit.fhir.finished_jobs import with_findings, without_result

pytestmark = pytest.mark.peer("fhir_server")


@contextmanager
def before_the_update(server: FhirServer, act: Callable[[], None]) -> Iterator[str]:
    """A gateway that acts once, before it carries on an update of the study."""
    left = [act]

    def answer(request: Request) -> Answer:
        if b"ifMatch" in request.body or "If-Match" in request.headers:
            while left:
                left.pop()()
        url = server.base_url + request.path.removeprefix("/fhir")
        names = ("Content-Type", "If-Match")
        kept = {name: text for name, text in request.headers.items() if name in names}
        real = httpx.request(request.method, url, content=request.body, headers=kept)
        return Answer(real.status_code, real.content)

    with ScriptedHttpServer(answer) as gateway:
        yield gateway.base_url


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step", [newer(), withdrawn(older())], ids=["told", "withdrawn"])
def test_a_study_that_another_node_has_just_changed_is_read_again(
    server: FhirServer, mode: str, step: FinishedJob
) -> None:
    server.reset([patient()])
    deliver(server.base_url, older(), **MODES[mode])
    other = with_images(another(with_findings(), "12", 9005), 38)

    def other_node() -> None:
        deliver(server.base_url, other)

    with before_the_update(server, other_node) as gateway:
        with pytest.raises(TransientFhirError, match="changed_meanwhile"):
            deliver(gateway, step, **MODES[mode])
        assert listed(server) == {IMAGES: 38, **of_result(older()), **of_result(other)}
        deliver(gateway, step, **MODES[mode])

    told = listed(server)
    assert of_result(other).items() <= told.items()
    assert (told[IMAGES] == 40) == (step.withdrawn_at is None)
    assert (of_result(older()).keys() <= told.keys()) == (step.withdrawn_at is None)


def failing_at(server: FhirServer, kind: str) -> Callable[[Request], Answer]:
    """A gateway that carries all on but the creation of one kind of resource."""

    def answer(request: Request) -> Answer:
        if request.path.removeprefix("/fhir") == f"/{kind}":
            return Answer(503)
        url = server.base_url + request.path.removeprefix("/fhir")
        kept = {name: text for name, text in request.headers.items() if name == "Content-Type"}
        real = httpx.request(request.method, url, content=request.body, headers=kept)
        return Answer(real.status_code, real.content)

    return answer


def test_what_arrived_of_a_result_that_was_withdrawn_half_told_leaves_the_study(
    server: FhirServer,
) -> None:
    server.reset([patient()])
    deliver(server.base_url, older(), mode="sequential")
    with (
        ScriptedHttpServer(failing_at(server, "Observation")) as gateway,
        pytest.raises(TransientFhirError),
    ):
        deliver(gateway.base_url, newer(), mode="sequential")
    assert of_result(newer()).keys() <= listed(server).keys()

    deliver(server.base_url, withdrawn(newer()), mode="sequential")
    assert of_result(older()).keys() <= listed(server).keys()
    assert not of_result(newer()).keys() & listed(server).keys()


def sign(server: FhirServer) -> None:
    """A physician finds the report right, and says so."""
    (report,) = server.all("DiagnosticReport")
    url = f"{server.base_url}/DiagnosticReport/{report['id']}"
    signed = json.dumps(report | {"status": "final"})
    headers = {"Content-Type": "application/fhir+json"}
    httpx.put(url, content=signed, headers=headers).raise_for_status()


@pytest.mark.parametrize("mode", MODES)
def test_a_report_that_is_signed_while_it_is_withdrawn_stays_signed(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient()])
    deliver(server.base_url, with_findings(), **MODES[mode])

    with before_the_update(server, lambda: sign(server)) as gateway:
        with pytest.raises(TransientFhirError, match="changed_meanwhile"):
            deliver(gateway, withdrawn(with_findings()), **MODES[mode])
        with pytest.raises(PermanentFhirError, match="report_signed"):
            deliver(gateway, withdrawn(with_findings()), **MODES[mode])

    assert [each["status"] for each in server.all("DiagnosticReport")] == ["final"]


@pytest.mark.parametrize("mode", MODES)
def test_a_report_that_is_signed_while_it_is_renewed_stays_signed(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient()])
    settings = {**MODES[mode], "imaging_study": "reference"}
    deliver(server.base_url, without_result(), **settings)

    with (
        before_the_update(server, lambda: sign(server)) as gateway,
        pytest.raises(TransientFhirError, match="changed_meanwhile"),
    ):
        deliver(gateway, with_findings(), **settings)

    assert [each["status"] for each in server.all("DiagnosticReport")] == ["final"]
