"""The ImagingStudy that we created follows what becomes of the study; nobody else's is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from storage.records import FinishedJob
from tests.integration.fhir.ehr import imaging_study, patient
from tests.integration.fhir.generations import (
    IMAGES,
    MODES,
    another,
    deliver,
    listed,
    newer,
    of_result,
    older,
    place_on,
    study_on,
    with_images,
    withdrawn,
)
from tests.peers.fhir_server import FhirServer, Json
from tests.unit.fhir.finished_jobs import PATIENT, STUDY_UID, of_patient, with_findings

pytestmark = pytest.mark.peer("fhir_server")


def start_with(server: FhirServer, study: Json) -> None:
    """Have the EHR hold this ImagingStudy and nothing else but the patient."""
    server.reset([patient(), study])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", ["the new one is told", "the old one is withdrawn"])
def test_more_images_and_a_new_result_are_in_the_study_and_the_old_result_is_not(
    server: FhirServer, mode: str, first: str
) -> None:
    server.reset([patient()])
    deliver(server.base_url, older(), **MODES[mode])
    place = place_on(server)
    steps = [newer(), withdrawn(older())]
    for step in steps if first == "the new one is told" else reversed(steps):
        deliver(server.base_url, step, **MODES[mode])

    study = study_on(server)
    assert listed(server) == {IMAGES: 40, **of_result(newer())}
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (3, 42)
    assert [each["code"] for each in study["modality"]] == ["MR", "SEG", "SR"]
    assert server.errors_of(study) == []
    reports = server.all("DiagnosticReport")
    assert {each["status"] for each in reports} == {"preliminary", "entered-in-error"}
    assert [each["imagingStudy"][0]["reference"] for each in reports] == [place, place]
    observations = server.all("Observation")
    assert {each["derivedFrom"][0]["reference"] for each in observations} == {place}


@pytest.mark.parametrize("mode", MODES)
def test_a_repeat_makes_no_further_version_of_the_study(server: FhirServer, mode: str) -> None:
    server.reset([patient()])
    for step in (older(), newer(), withdrawn(older())):
        deliver(server.base_url, step, **MODES[mode])
    versions = server.versions(place_on(server))
    for step in (newer(), withdrawn(older()), newer()):
        deliver(server.base_url, step, **MODES[mode])
    assert versions == server.versions(place_on(server)) == 3


@pytest.mark.parametrize("mode", MODES)
def test_the_study_of_the_ehr_is_referred_to_and_never_touched(
    server: FhirServer, mode: str
) -> None:
    server.reset([patient(), imaging_study()])
    before = study_on(server)
    for step in (older(), newer(), withdrawn(older())):
        deliver(server.base_url, step, **MODES[mode])
    assert study_on(server) == before
    references = {each["imagingStudy"][0]["reference"] for each in server.all("DiagnosticReport")}
    assert references == {"ImagingStudy/s1"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step", [older(), newer()], ids=["same objects", "new objects"])
def test_a_study_that_was_sent_under_another_patient_follows_its_correction(
    server: FhirServer, mode: str, step: FinishedJob
) -> None:
    right = replace(PATIENT, patient_id="MRN-4712")
    server.reset([patient(), patient("p2", "MRN-4712")])
    deliver(server.base_url, older(), **MODES[mode])
    deliver(server.base_url, withdrawn(older()), **MODES[mode])
    place = deliver(server.base_url, of_patient(right, step), **MODES[mode])["report"]

    study = study_on(server)
    assert study["subject"]["reference"] == "Patient/p2"
    assert server.read(place)["imagingStudy"][0]["reference"] == f"ImagingStudy/{study['id']}"
    assert server.errors_of(study) == []


def without_mark(study: Json) -> Json:
    return {**study, "identifier": study["identifier"][:-1]}


NOT_OURS: dict[str, Callable[[Json], Json]] = {
    "an earlier version of ours made it": without_mark,
    "the EHR holds it for wrong": lambda study: {**study, "status": "entered-in-error"},
    "another node made it": lambda study: {
        **without_mark(study),
        "identifier": [
            *without_mark(study)["identifier"],
            {**study["identifier"][-1], "system": "urn:another:node"},
        ],
    },
}


@pytest.mark.parametrize("why", NOT_OURS)
def test_a_study_that_is_not_surely_ours_is_left_alone(server: FhirServer, why: str) -> None:
    server.reset([patient()])
    deliver(server.base_url, older())
    start_with(server, NOT_OURS[why](study_on(server)))
    before = study_on(server)
    for step in (older(), newer(), withdrawn(older())):
        deliver(server.base_url, step)
    assert study_on(server) == before


@pytest.mark.parametrize("setting", ["reference", "omit"])
def test_a_study_is_not_kept_true_where_the_site_wants_none_created(
    server: FhirServer, setting: str
) -> None:
    server.reset([patient()])
    deliver(server.base_url, older())
    before = study_on(server)
    for step in (newer(), withdrawn(older())):
        deliver(server.base_url, step, imaging_study=setting)
    assert study_on(server) == before


def test_a_document_leaves_the_study_as_it_is(server: FhirServer) -> None:
    server.reset([patient()])
    deliver(server.base_url, older())
    before = study_on(server)
    for step in (newer(), withdrawn(newer())):
        deliver(server.base_url, step, mode="documentreference")
    assert study_on(server) == before
    (document,) = server.all("DocumentReference")
    assert document["context"]["related"][0]["reference"] == f"ImagingStudy/{before['id']}"


@pytest.mark.parametrize("mode", MODES)
def test_two_results_of_a_study_leave_each_other_in_it(server: FhirServer, mode: str) -> None:
    """Of two pipelines, or of two nodes that share an identifier system."""
    server.reset([patient()])
    other = with_images(another(with_findings(), "12", 9005), 38)
    for step in (older(), other):
        deliver(server.base_url, step, **MODES[mode])
    assert listed(server) == {IMAGES: 38, **of_result(older()), **of_result(other)}
    deliver(server.base_url, withdrawn(older()), **MODES[mode])
    assert listed(server) == {IMAGES: 38, **of_result(other)}


def test_what_the_ehr_has_added_to_our_study_stays(server: FhirServer) -> None:
    server.reset([patient()])
    deliver(server.base_url, older())
    study = study_on(server)
    tag = {"system": "urn:hospital:workflow", "code": "seen"}
    study |= {"note": [{"text": "second scan"}], "meta": {"tag": [tag]}}
    study["series"][0]["bodySite"] = {"system": "http://snomed.info/sct", "code": "12738006"}
    study["series"].append({**study["series"][0], "uid": "1.2.3", "numberOfInstances": 7})
    start_with(server, study)
    for step in (newer(), withdrawn(older())):
        deliver(server.base_url, step)

    renewed = study_on(server)
    assert listed(server) == {IMAGES: 40, "1.2.3": 7, **of_result(newer())}
    assert renewed["note"] == study["note"]
    assert renewed["meta"]["tag"] == [tag]
    assert renewed["series"][0]["bodySite"] == study["series"][0]["bodySite"]
    assert renewed["numberOfInstances"] == 49


def test_objects_that_the_pacs_got_under_other_uids_leave_the_study_too(
    server: FhirServer,
) -> None:
    server.reset([patient()])
    deliver(server.base_url, older())
    elsewhere = another(older(), "cd", 9007)
    known = frozenset(each.sop_instance_uid for each in older().objects)
    deliver(server.base_url, withdrawn(replace(elsewhere, known_uids=known)))
    assert listed(server) == {IMAGES: 38}


def test_an_update_puts_no_uid_of_the_study_into_a_url(server: FhirServer) -> None:
    for mode in MODES.values():
        server.reset([patient()])
        for step in (older(), newer(), withdrawn(older())):
            deliver(server.base_url, step, **mode)
        for exchange in server.log:
            assert STUDY_UID not in exchange["url"] + json.dumps(exchange["headers"])
