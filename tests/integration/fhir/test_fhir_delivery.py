from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.settings import FolderDestination
from fhir.client import FhirClient
from fhir.errors import PermanentFhirError, TransientFhirError
from fhir.folder import deliver_to_folder
from fhir.report_pdf import MOST_DATA
from storage.records import FinishedJob
from tests.integration.fhir.ehr import destination, imaging_study, order, patient
from tests.peers.fhir_server import FhirServer, Json
from tests.unit.fhir.finished_jobs import (
    PATIENT,
    STUDY_UID,
    measurement,
    of_study,
    with_findings,
    without_findings,
)

pytestmark = pytest.mark.peer("fhir_server")

CREATED = ("Device", "ImagingStudy", "Observation", "DiagnosticReport", "Provenance")
JOBS = {
    "findings": with_findings(),
    "no findings": without_findings(),
    "with a PDF": replace(with_findings(), report_pdf=b"%PDF-1.4 a page\n"),
}


def deliver(server: FhirServer, finished: FinishedJob, **settings: Any) -> Mapping[str, str]:
    with FhirClient(destination(server.base_url, **settings), "Radiology", "UTC") as client:
        return client.deliver(finished)


def counts(server: FhirServer) -> dict[str, int]:
    return {kind: len(server.all(kind)) for kind in CREATED}


def report_on(server: FhirServer) -> Json:
    (report,) = server.all("DiagnosticReport")
    return report


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("study", ["reference", "create", "omit"])
def test_a_report_arrives_once_however_often_it_is_delivered(
    server: FhirServer, job: str, study: str
) -> None:
    server.reset([patient()])
    first = deliver(server, JOBS[job], imaging_study=study)
    made = counts(server)
    second = deliver(server, JOBS[job], imaging_study=study)
    assert first == second
    assert counts(server) == made
    assert made == {
        "Device": 1,
        "ImagingStudy": int(study == "create"),
        "Observation": 2,
        "DiagnosticReport": 1,
        "Provenance": 1,
    }
    references = [first["report"], *first["observations"].split()]
    assert [server.versions(each) for each in references] == [1, 1, 1]


@pytest.mark.parametrize("mode", ["transaction", "sequential", "documentreference"])
def test_a_pdf_arrives_where_the_server_takes_its_size_and_the_report_in_any_case(
    server: FhirServer, mode: str
) -> None:
    largest = b"%PDF-".ljust(MOST_DATA // 4 * 3)
    for pdf, is_left_out in ((largest, False), (largest * 2, True)):
        server.reset([patient()])
        receipt = deliver(server, replace(with_findings(), report_pdf=pdf), mode=mode)
        told = json.dumps(server.read(receipt["report"]))
        assert ("application/pdf" not in told) == is_left_out
        assert ("left_out" in receipt) == is_left_out


def test_the_receipt_names_the_report_and_its_results(server: FhirServer) -> None:
    server.reset([patient()])
    receipt = deliver(server, with_findings())
    report = server.read(receipt["report"])
    results = [each["reference"] for each in report["result"]]
    assert receipt["observations"].split() == results
    assert report["subject"]["reference"] == "Patient/p1"


def test_a_transaction_that_arrives_twice_at_once_leaves_one_report(server: FhirServer) -> None:
    """As when an answer was lost: the second may overtake the search that would have stopped it."""
    server.reset([patient()])
    deliver(server, with_findings())
    (sent,) = (each for each in server.log if each["url"] == "/fhir")
    with FhirClient(destination(server.base_url), "Radiology", "UTC") as client:
        client._transport.transaction(sent["body"])
    assert counts(server)["DiagnosticReport"] == 1
    assert counts(server)["Observation"] == 2


def test_order_and_imaging_study_are_linked_where_the_ehr_has_them(server: FhirServer) -> None:
    server.reset([patient(), order(), imaging_study()])
    deliver(server, with_findings())
    report = report_on(server)
    assert report["basedOn"][0]["reference"] == "ServiceRequest/o1"
    assert report["imagingStudy"][0]["reference"] == "ImagingStudy/s1"
    for observation in server.all("Observation"):
        assert observation["derivedFrom"][0]["reference"] == "ImagingStudy/s1"
        assert observation["basedOn"][0]["reference"] == "ServiceRequest/o1"


def test_order_and_imaging_study_are_named_where_the_ehr_has_none(server: FhirServer) -> None:
    server.reset([patient()])
    deliver(server, with_findings())
    report = report_on(server)
    assert report["basedOn"][0]["identifier"]["value"] == "ACC-0815"
    assert report["imagingStudy"][0]["identifier"]["value"] == f"urn:oid:{STUDY_UID}"
    assert server.all("ServiceRequest") == []


def test_of_several_orders_none_is_chosen(server: FhirServer) -> None:
    server.reset([patient(), order("o1"), order("o2")])
    deliver(server, with_findings())
    assert "basedOn" not in report_on(server)


@pytest.mark.parametrize("mode", ["reference", "create"])
def test_of_several_imaging_studies_none_is_chosen_and_none_added(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient(), imaging_study("s1"), imaging_study("s2")])
    deliver(server, with_findings(), imaging_study=mode)
    assert "identifier" in report_on(server)["imagingStudy"][0]
    assert len(server.all("ImagingStudy")) == 2


def test_without_an_accession_system_the_order_is_named_but_not_searched(
    server: FhirServer,
) -> None:
    server.reset([patient(), order()])
    deliver(server, with_findings(), accession_system=None)
    assert report_on(server)["basedOn"][0]["identifier"]["value"] == "ACC-0815"
    assert not any("ServiceRequest" in each["url"] for each in server.log)


def test_an_imaging_study_is_created_once_for_several_jobs(server: FhirServer) -> None:
    server.reset([patient()])
    finished = with_findings()
    other = replace(finished, job=replace(finished.job, pipeline_digest="ef" * 32))
    for each in (finished, other):
        deliver(server, each, imaging_study="create")
    assert len(server.all("ImagingStudy")) == 1
    assert len(server.all("DiagnosticReport")) == 2


def test_results_of_one_model_share_its_device(server: FhirServer) -> None:
    server.reset([patient()])
    finished = with_findings()
    newer = replace(finished, job=replace(finished.job, input_digest="ef" * 32))
    for each in (finished, newer):
        deliver(server, each)
    assert counts(server)["Device"] == 1
    assert counts(server)["Observation"] == 4


def test_no_identifier_of_the_patient_stands_in_url_header_or_condition(
    server: FhirServer,
) -> None:
    server.reset([patient(), order(), imaging_study()])
    deliver(server, with_findings())
    private = (PATIENT.patient_id, "ller", "19610517", "1961-05-17", "ACC-0815", STUDY_UID, "p1")
    for exchange in server.log:
        open_part = exchange["url"] + json.dumps(exchange["headers"])
        assert not [each for each in private if each in open_part]
    bundle = json.loads(server.log[-1]["body"])
    conditions = [entry["request"].get("ifNoneExist", "") for entry in bundle["entry"]]
    assert any(conditions)
    assert not [each for each in private if any(each in condition for condition in conditions)]


def test_the_server_is_asked_before_anything_is_written(server: FhirServer) -> None:
    server.reset([patient()])
    deliver(server, with_findings())
    assert [(each["method"], each["url"]) for each in server.log] == [
        ("GET", "/fhir/metadata"),
        ("POST", "/fhir/DiagnosticReport/_search"),
        ("POST", "/fhir/Patient/_search"),
        ("POST", "/fhir/ServiceRequest/_search"),
        ("POST", "/fhir/ImagingStudy/_search"),
        ("POST", "/fhir"),
    ]


def test_a_client_asks_for_the_version_once(server: FhirServer) -> None:
    server.reset([patient()])
    with FhirClient(destination(server.base_url), "Radiology", "UTC") as client:
        client.deliver(with_findings())
        client.deliver(with_findings())
    assert [each["url"] for each in server.log].count("/fhir/metadata") == 1


def test_a_bearer_token_is_sent_where_one_is_set(server: FhirServer) -> None:
    server.reset([patient()], bearer="let me in")
    with pytest.raises(TransientFhirError, match="http_401"):
        deliver(server, with_findings())
    assert deliver(server, with_findings(), bearer_token="let me in")["report"]


def test_eight_entries_are_enough_for_four_structures_and_the_study(server: FhirServer) -> None:
    """Some servers take no more beside a conditional create."""
    server.reset([patient()], mostConditional=8)
    four = tuple(measurement(f"structure {number}", number) for number in range(1, 5))
    deliver(server, replace(with_findings(), measurements=four), imaging_study="create")
    assert len(report_on(server)["result"]) == 4


def test_what_the_server_refuses_is_refused_for_good_and_leaves_nothing(
    server: FhirServer,
) -> None:
    server.reset([patient()], mostConditional=3)
    with pytest.raises(PermanentFhirError) as caught:
        deliver(server, with_findings())
    assert caught.value.code == "http_400"
    assert caught.value.text == "transaction: status 400: too-costly at Bundle.entry"
    assert counts(server) == dict.fromkeys(CREATED, 0)


def test_identifier_systems_with_odd_characters_are_found_again(server: FhirServer) -> None:
    server.reset([patient()])
    odd = "https://hospital.example/ai?x=1&y=2#results"
    first = deliver(server, with_findings(), identifier_system=odd)
    assert deliver(server, with_findings(), identifier_system=odd) == first
    assert report_on(server)["identifier"][0]["system"] == odd


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("study", ["reference", "create", "omit"])
def test_a_file_in_the_folder_is_valid_r4(
    server: FhirServer, tmp_path: Path, job: str, study: str
) -> None:
    folder = FolderDestination.model_validate(
        {"type": "folder", "name": "folder", "folder": tmp_path, "imaging_study": study}
    )
    receipt = deliver_to_folder(JOBS[job], folder, "Radiology", "UTC")
    bundle = json.loads((tmp_path / receipt["file"]).read_text("utf-8"))
    assert server.errors_of(bundle) == []


@pytest.mark.parametrize("job", JOBS)
def test_a_file_in_the_folder_may_be_posted_twice(
    server: FhirServer, tmp_path: Path, job: str
) -> None:
    server.reset([patient()])
    folder = FolderDestination(type="folder", name="folder", folder=tmp_path)
    receipt = deliver_to_folder(JOBS[job], folder, "Radiology", "UTC")
    bundle = json.loads((tmp_path / receipt["file"]).read_text("utf-8"))
    first, second = (server.post(bundle) for _ in range(2))
    assert [one["response"]["location"] for one in first["entry"]] == [
        one["response"]["location"] for one in second["entry"]
    ]
    (provenance,) = server.all("Provenance")
    assert server.versions(f"Provenance/{provenance['id']}") == 1


def test_a_study_without_date_or_accession_is_delivered(server: FhirServer) -> None:
    server.reset([patient()])
    bare = of_study(with_findings(), study_date="", study_time="", accession_number="")
    deliver(server, bare, imaging_study="create")
    assert "effectiveDateTime" not in report_on(server)
