from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config.settings import PatientSystem
from fhir.client import FhirClient
from fhir.errors import PatientNotResolved
from fhir.withdrawal import update_entry
from storage.records import FinishedJob
from tests.integration.fhir.ehr import (
    PATIENT_SYSTEM,
    Json,
    destination,
    imaging_study,
    order,
    patient,
    replaced_by,
)
from tests.peers.fhir_server import FhirServer
from tests.unit.fhir.finished_jobs import PATIENT, of_patient, with_findings

pytestmark = pytest.mark.peer("fhir_server")


def subject(server: FhirServer, finished: FinishedJob, **settings: Any) -> str:
    """Deliver, and say whose report it became."""
    with FhirClient(destination(server.base_url, **settings), "Radiology", "UTC") as client:
        report = client.deliver(finished)["report"]
    reference = server.read(report)["subject"]["reference"]
    assert isinstance(reference, str)
    return reference


def problem(
    server: FhirServer, resources: list[Json], finished: FinishedJob | None = None, **settings: Any
) -> str:
    """Why nothing was delivered; makes sure that nothing was."""
    server.reset(resources)
    with pytest.raises(PatientNotResolved) as caught:
        subject(server, finished or with_findings(), **settings)
    assert not any(each["url"] == "/fhir" for each in server.log)
    assert server.all("DiagnosticReport") == []
    assert len(server.all("Patient")) == sum(r["resourceType"] == "Patient" for r in resources)
    private = (PATIENT.patient_id, "Müller", "MÜLLER", "1961")
    assert not [each for each in private if each in str(caught.value)]
    return caught.value.code


def with_patient(**changes: str) -> FinishedJob:
    return of_patient(replace(PATIENT, **changes))


def test_exactly_one_patient_gets_the_report(server: FhirServer) -> None:
    server.reset([patient("p1"), patient("p2", mrn="MRN-4712")])
    assert subject(server, with_findings()) == "Patient/p1"


def test_an_unknown_patient_is_never_created(server: FhirServer) -> None:
    assert problem(server, [patient(mrn="MRN-4712")]) == "patient_not_found"


def test_the_same_number_of_another_issuer_is_another_patient(server: FhirServer) -> None:
    elsewhere = patient(identifier=[{"system": "urn:oid:9.9", "value": "MRN-4711"}])
    assert problem(server, [elsewhere]) == "patient_not_found"


def test_two_patients_with_one_number_get_no_report(server: FhirServer) -> None:
    assert problem(server, [patient("p1"), patient("p2")]) == "patient_ambiguous"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": [{"family": "Meier"}]},
        {"birthDate": "1961-05-18"},
        {"birthDate": "1962"},
        {"name": [], "birthDate": None},
    ],
)
def test_other_demographics_get_no_report(server: FhirServer, changes: Json) -> None:
    other = {key: value for key, value in patient(**changes).items() if value}
    assert problem(server, [other]) == "patient_mismatch"


@pytest.mark.parametrize(
    "changes",
    [{"birthDate": "1961-05"}, {"birthDate": "1961"}, {"name": [{"family": "MUELLER"}]}],
)
def test_what_the_ehr_knows_less_exactly_still_agrees(server: FhirServer, changes: Json) -> None:
    server.reset([patient(**changes)])
    assert subject(server, with_findings()) == "Patient/p1"


def test_a_study_without_name_is_compared_by_birth_date(server: FhirServer) -> None:
    server.reset([patient()])
    assert subject(server, with_patient(patient_name="")) == "Patient/p1"


def test_a_study_with_nothing_to_compare_waits(server: FhirServer) -> None:
    nameless = with_patient(patient_name="", birth_date="")
    assert problem(server, [patient()], nameless) == "patient_mismatch"


def test_a_study_without_patient_id_waits(server: FhirServer) -> None:
    assert problem(server, [patient()], with_patient(patient_id=" ")) == "patient_id_missing"


@pytest.mark.parametrize(
    "systems", [{}, {"patient_systems": (PatientSystem(system=PATIENT_SYSTEM),)}]
)
def test_an_issuer_without_a_system_waits(server: FhirServer, systems: dict[str, Any]) -> None:
    other = with_patient(issuer_of_patient_id="ELSEWHERE")
    assert problem(server, [patient()], other, **systems) == "no_identifier_system"


def test_the_default_system_serves_studies_without_an_issuer(server: FhirServer) -> None:
    server.reset([patient()])
    default = (PatientSystem(system=PATIENT_SYSTEM),)
    anonymous = with_patient(issuer_of_patient_id="")
    assert subject(server, anonymous, patient_systems=default) == "Patient/p1"


def test_a_merged_patient_is_followed(server: FhirServer) -> None:
    merged = patient("p1", active=False, link=replaced_by("p2"))
    server.reset([patient("p2", mrn="MRN-9"), merged])
    assert subject(server, with_findings()) == "Patient/p2"


def test_a_merged_patient_found_beside_its_survivor_is_one_patient(server: FhirServer) -> None:
    merged = patient("p1", active=False, link=replaced_by("p2"))
    server.reset([patient("p2"), merged])
    assert subject(server, with_findings()) == "Patient/p2"


def test_the_survivor_of_a_merge_is_compared_too(server: FhirServer) -> None:
    merged = patient("p1", link=replaced_by("p2"))
    survivor = patient("p2", mrn="MRN-9", name=[{"family": "Meier"}])
    assert problem(server, [survivor, merged]) == "patient_mismatch"


def test_a_merge_is_followed_once_only(server: FhirServer) -> None:
    chain = [
        patient("p3", mrn="MRN-8"),
        patient("p2", mrn="MRN-9", link=replaced_by("p3")),
        patient("p1", link=replaced_by("p2")),
    ]
    assert problem(server, chain) == "patient_ambiguous"


def test_an_inactive_patient_gets_no_report(server: FhirServer) -> None:
    assert problem(server, [patient(active=False)]) == "patient_not_found"


@pytest.mark.parametrize("make", [order, imaging_study])
def test_an_order_or_study_of_another_patient_stops_the_delivery(
    server: FhirServer, make: Any
) -> None:
    others = [patient("p1"), patient("p2", mrn="MRN-9"), make(patient_id="p2")]
    assert problem(server, others) == "patient_mismatch"


def test_an_order_of_the_merged_record_is_the_patients_own(server: FhirServer) -> None:
    merged = patient("p1", active=False, link=replaced_by("p2"))
    server.reset([patient("p2", mrn="MRN-9"), merged, order(patient_id="p1")])
    assert subject(server, with_findings()) == "Patient/p2"
    (report,) = server.all("DiagnosticReport")
    assert report["basedOn"][0]["reference"] == "ServiceRequest/o1"


@pytest.mark.parametrize("odd", ["4711|5", "47,11", "47\\11", "47$11"])
def test_odd_characters_in_a_patient_id_never_lead_to_another_patient(
    server: FhirServer, odd: str
) -> None:
    near = [patient("p1", mrn="47"), patient("p2", mrn="4711"), patient("p3", mrn="11")]
    assert problem(server, near, with_patient(patient_id=odd)) == "patient_not_found"


@pytest.mark.parametrize("mode", ["transaction", "sequential", "documentreference"])
def test_a_report_that_the_ehr_has_under_another_patient_is_no_repeat(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient(), patient("p2", "MRN-4712")])
    settings = destination(server.base_url, mode=mode)
    with FhirClient(settings, "Radiology", "UTC") as client:
        client.deliver(with_findings())
        with pytest.raises(PatientNotResolved, match="patient_mismatch"):
            client.deliver(with_patient(patient_id="MRN-4712"))


@pytest.mark.parametrize("mode", ["transaction", "sequential", "documentreference"])
def test_a_report_of_a_patient_who_is_merged_since_is_a_repeat(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient(), patient("p2", "MRN-9")])
    settings = destination(server.base_url, mode=mode)
    with FhirClient(settings, "Radiology", "UTC") as client:
        told = client.deliver(with_findings())
        merged = update_entry(patient("p1", active=False, link=replaced_by("p2")))
        server.post({"resourceType": "Bundle", "type": "transaction", "entry": [merged]})
        assert client.deliver(with_findings()) == told
