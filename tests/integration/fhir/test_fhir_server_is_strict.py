"""The server under the other tests notices what it should: else they would prove little."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fhir.bundle import build_bundle, bundle_json
from fhir.errors import PermanentFhirError, TransientFhirError
from fhir.references import References, literal
from fhir.transport import FhirTransport
from tests.integration.fhir.ehr import destination, patient
from tests.peers.fhir_server import FhirServer
from tests.unit.fhir.finished_jobs import FINISHED_AT, with_findings

pytestmark = pytest.mark.peer("fhir_server")

Json = dict[str, Any]


def resource(bundle: Json, kind: str) -> Json:
    resources: list[Json] = [entry["resource"] for entry in bundle["entry"]]
    return next(each for each in resources if each["resourceType"] == kind)


FAULTS: dict[str, Callable[[Json], Any]] = {
    "status not in its value set": lambda b: resource(b, "Observation").update(status="done"),
    "required element missing": lambda b: resource(b, "DiagnosticReport").pop("code"),
    "unknown element": lambda b: resource(b, "Observation").update(volume=1),
    "element of R5": lambda b: resource(b, "Device").update(displayName="x"),
    "unit code without system": lambda b: resource(b, "Observation")["valueQuantity"].pop("system"),
    "value and reason why there is none": lambda b: resource(b, "Observation").update(
        dataAbsentReason={"text": "x"}
    ),
    "time without zone": lambda b: resource(b, "DiagnosticReport").update(
        effectiveDateTime="2025-03-04T10:15:30"
    ),
    "reference to nothing": lambda b: resource(b, "DiagnosticReport").update(
        subject={"reference": "Patient/none"}
    ),
    "reference of the wrong type": lambda b: resource(b, "DiagnosticReport").update(
        performer=[{"reference": resource(b, "Observation")["device"]["reference"]}]
    ),
    "logical reference of the wrong type": lambda b: resource(b, "DiagnosticReport").update(
        performer=[{"type": "Device", "display": "x"}]
    ),
    "unresolved urn:uuid": lambda b: b["entry"][0].update(
        fullUrl="urn:uuid:00000000-0000-4000-8000-000000000000"
    ),
    "narrative without text": lambda b: resource(b, "DiagnosticReport")["text"].pop("div"),
    "two entries with one condition": lambda b: b["entry"][1]["request"].update(
        ifNoneExist=b["entry"][2]["request"]["ifNoneExist"]
    ),
}


def bundle() -> Json:
    content = destination("http://127.0.0.1")
    built = build_bundle(
        with_findings(),
        content=content,
        organization_name="Radiology",
        timezone="UTC",
        references=References(literal("Patient", "p1"), None, None),
        issued=FINISHED_AT,
    )
    value: Json = json.loads(bundle_json(built))
    return value


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_transaction_is_refused_as_a_whole(server: FhirServer, fault: str) -> None:
    server.reset([patient()])
    sent = bundle()
    FAULTS[fault](sent)
    with (
        FhirTransport(destination(server.base_url)) as transport,
        pytest.raises(PermanentFhirError, match="http_400"),
    ):
        transport.transaction(json.dumps(sent))
    assert [server.all(kind) for kind in ("Device", "Observation", "DiagnosticReport")] == [[]] * 3


def test_the_same_transaction_without_fault_is_taken(server: FhirServer) -> None:
    server.reset([patient()])
    with FhirTransport(destination(server.base_url)) as transport:
        answer = transport.transaction(json.dumps(bundle()))
    statuses = [entry["response"]["status"] for entry in answer["entry"]]
    assert statuses == ["201 Created"] * 5


def test_a_condition_that_fits_two_resources_is_refused(server: FhirServer) -> None:
    device = resource(bundle(), "Device")
    server.reset([patient(), {**device, "id": "d1"}, {**device, "id": "d2"}])
    with (
        FhirTransport(destination(server.base_url)) as transport,
        pytest.raises(PermanentFhirError, match=r"http_412: .*multiple-matches"),
    ):
        transport.transaction(json.dumps(bundle()))


def test_an_unknown_search_parameter_is_refused(server: FhirServer) -> None:
    with (
        FhirTransport(destination(server.base_url)) as transport,
        pytest.raises(TransientFhirError, match="http_400"),
    ):
        transport.search("Patient", {"identifer": "x|y"})
