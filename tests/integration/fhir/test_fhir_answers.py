from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.client import FhirClient
from fhir.errors import FhirError, PatientNotResolved, PermanentFhirError, TransientFhirError
from storage.dicom_records import PatientIdentity
from tests.integration.fhir.ehr import PATIENT_SYSTEM, destination
from tests.integration.fhir.scripted_answers import (
    NOTHING,
    anna,
    answers,
    deliver,
    found,
    told,
)
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer
from tests.unit.fhir.finished_jobs import of_patient, with_findings


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<html>Log in</html>", b"[]", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b"{}"],
)
@pytest.mark.parametrize("path", ["metadata", "DiagnosticReport", "Patient", "transaction"])
def test_garbage_is_no_answer(scripted: ScriptedHttpServer, path: str, garbage: bytes) -> None:
    scripted.answer = answers(**{"Patient": found(anna()), path: Answer(200, garbage)})
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert caught.value.code == "bad_response"


@pytest.mark.parametrize(
    ("entries", "error", "code"),
    [
        ([], TransientFhirError, "bad_response"),
        ([{}] * 5, PermanentFhirError, "entry_refused"),
        ([{"response": {"status": "201"}}] * 5, TransientFhirError, "bad_response"),
        ([{"response": {"status": "422 No"}}] * 5, PermanentFhirError, "entry_refused"),
        (
            [{"response": {"status": "201", "location": "Patient/1"}}] * 5,
            TransientFhirError,
            "bad_response",
        ),
    ],
)
def test_a_transaction_is_believed_only_when_every_entry_is_answered_for(
    scripted: ScriptedHttpServer, entries: Any, error: type[FhirError], code: str
) -> None:
    response = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
    scripted.answer = answers(Patient=found(anna()), transaction=told(response))
    with pytest.raises(error) as caught:
        deliver(scripted)
    assert caught.value.code == code


def test_ids_are_read_from_absolute_locations_and_from_resources(
    scripted: ScriptedHttpServer,
) -> None:
    kinds = ("Device", "Observation", "Observation", "DiagnosticReport", "Provenance")
    entries: list[dict[str, Any]] = [
        {
            "response": {
                "status": "201 Created",
                "location": f"https://ehr/fhir/{kind}/{n}/_history/1",
            }
        }
        for n, kind in enumerate(kinds)
    ]
    entries[2] = {
        "resource": {"resourceType": "Observation", "id": "x"},
        "response": {"status": "200"},
    }
    response = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
    scripted.answer = answers(Patient=found(anna()), transaction=told(response))
    with FhirClient(destination(scripted.base_url), "Radiology", "UTC") as client:
        receipt = client.deliver(with_findings())
    assert receipt == {
        "report": "DiagnosticReport/3",
        "observations": "Observation/1 Observation/x",
    }


def test_a_lenient_server_that_ignores_the_search_is_not_believed(
    scripted: ScriptedHttpServer,
) -> None:
    other = anna(id="p9", identifier=[{"system": PATIENT_SYSTEM, "value": "MRN-1"}])
    scripted.answer = answers(Patient=found(other))
    with pytest.raises(PatientNotResolved, match="patient_not_found"):
        deliver(scripted)


def test_further_pages_mean_several_patients(scripted: ScriptedHttpServer) -> None:
    more = [{"relation": "next", "url": "https://ehr/page2"}]
    scripted.answer = answers(Patient=found(anna(), link=more))
    with pytest.raises(PatientNotResolved, match="patient_ambiguous"):
        deliver(scripted)


def test_included_resources_and_outcomes_are_no_hits(scripted: ScriptedHttpServer) -> None:
    entries = [
        {"resource": anna(id="p2"), "search": {"mode": "include"}},
        {
            "resource": {"resourceType": "OperationOutcome", "id": "x"},
            "search": {"mode": "outcome"},
        },
        {"resource": anna(id="not an id!")},
    ]
    scripted.answer = answers(Patient=told({**NOTHING, "entry": entries}))
    with pytest.raises(PatientNotResolved, match="patient_not_found"):
        deliver(scripted)


def test_two_reports_of_one_result_are_shown_to_a_person(scripted: ScriptedHttpServer) -> None:
    def answer(request: Request) -> Answer:
        if not request.path.startswith("/fhir/DiagnosticReport"):
            return answers()(request)
        system, value = parse_qs(request.body.decode())["identifier"][0].split("|")
        report = {
            "resourceType": "DiagnosticReport",
            "identifier": [{"system": system, "value": value}],
        }
        return found({**report, "id": "1"}, {**report, "id": "2"})

    scripted.answer = answer
    with pytest.raises(PermanentFhirError, match="report_ambiguous"):
        deliver(scripted)


def echo(request: Request) -> Answer:
    """Puts all that it was sent into every text of a refusal."""
    if request.path != "/fhir/Patient/_search":
        return answers()(request)
    sent = parse_qs(request.body.decode())["identifier"][0]
    value = sent.partition("|")[2].replace("\\", "")
    texts = [sent, value, f"Patient.{value}"]
    issue = {"code": value, "diagnostics": sent, "details": {"text": sent}, "expression": texts}
    return told({"resourceType": "OperationOutcome", "issue": [issue]}, 422)


def somebody_else(request: Request) -> Answer:
    """Has a patient with that number, who was born on another day."""
    if request.path != "/fhir/Patient/_search":
        return answers()(request)
    value = parse_qs(request.body.decode())["identifier"][0].partition("|")[2].replace("\\", "")
    number = [{"system": PATIENT_SYSTEM, "value": value}]
    return found(anna(identifier=number, birthDate="1900-01-01"))


private_texts = st.text(st.characters(codec="utf-8"), max_size=12).map(lambda text: f"Qz{text}zQ")


@pytest.mark.parametrize("answer", [echo, somebody_else])
def test_no_patient_data_gets_into_errors_or_urls_whatever_the_server_answers(
    scripted: ScriptedHttpServer, answer: Callable[[Request], Answer]
) -> None:
    scripted.answer = answer
    client = FhirClient(destination(scripted.base_url), "Radiology", "UTC")

    @given(private_texts, private_texts)
    @settings(deadline=None)
    def law(patient_id: str, family: str) -> None:
        scripted.requests.clear()
        patient = PatientIdentity(patient_id, "HOSPITAL", f"{family}^{family}", "19610517")
        with pytest.raises(FhirError) as caught:
            client.deliver(of_patient(patient))
        urls = " ".join(request.path for request in scripted.requests)
        for private in (patient_id, family, "Qz", "19610517"):
            assert private not in f"{caught.value} {urls}"

    with client:
        law()


def test_a_refusal_that_quotes_the_patient_is_told_without_the_quote(
    scripted: ScriptedHttpServer,
) -> None:
    scripted.answer = echo
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert str(caught.value) == "http_422: search for Patient: status 422: unknown"
