"""Jobs without a result, results for review, and how sure a result is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.provenance import Provenance

from fhir.bundle import bundle_json
from storage.dicom_records import CodedConcept
from storage.records import JobState
from tests.unit.fhir.finished_jobs import (
    classified,
    for_review,
    that_no_pipeline_took,
    with_findings,
    without_result,
)
from tests.unit.fhir.told_bundles import as_json, every, only, told

WITHOUT_RESULT = {
    "not processed": without_result(),
    "failed": without_result(JobState.FAILED, "inference_failed", "the model broke"),
    "no pipeline": that_no_pipeline_took(),
}
WORDS = {
    "not processed": "slices 3 and 4 are 7.5 mm apart, the others 1.0 mm",
    "failed": "the run of the model broke, or its answer cannot be used",
    "no pipeline": "hippocampus_mr: no series fits",
}


@pytest.mark.parametrize("name", WITHOUT_RESULT)
def test_a_job_without_a_result_is_told_as_cancelled_with_its_reason(name: str) -> None:
    finished = WITHOUT_RESULT[name]
    bundle = told(finished)

    report = as_json(only(bundle, DiagnosticReport))
    assert report["status"] == "cancelled"
    assert "result" not in report
    assert report["category"][0]["coding"][0]["code"] == "LP29684-5"
    first, reason = report["conclusionCode"]
    assert first["coding"][0]["code"] == "111245"
    assert reason["coding"][0]["code"] == finished.job.reason_code
    assert reason["text"] == WORDS[name]
    assert f"({finished.job.reason_code}: {WORDS[name]})" in report["conclusion"]
    assert report["conclusion"].startswith("No AI result")


def test_no_path_of_the_node_stands_in_what_tells_a_failure() -> None:
    text = "/srv/bundles/ct/configs: none of inference.json is there; fetch the bundle again"
    finished = without_result(JobState.FAILED, "invalid_bundle", text)
    said = bundle_json(told(finished))
    assert "invalid_bundle: the files of the model are missing or cannot be used" in said
    assert "/srv" not in said
    assert "inference.json" not in said


@pytest.mark.parametrize("name", WITHOUT_RESULT)
def test_where_no_model_ran_nothing_is_asserted_by_one(name: str) -> None:
    bundle = told(WITHOUT_RESULT[name])

    assert every(bundle, Device) == []
    assert every(bundle, Observation) == []
    assert "AIAST" not in bundle_json(bundle)
    agent = as_json(only(bundle, Provenance))["agent"][0]
    assert agent["who"]["display"] == "Radiology"
    assert "onBehalfOf" not in agent


def test_a_failure_and_a_later_success_of_one_job_are_one_report() -> None:
    failed = told(without_result(JobState.FAILED))
    done = told(with_findings())
    reports = [as_json(only(each, DiagnosticReport)) for each in (failed, done)]
    assert reports[0]["identifier"][0] == reports[1]["identifier"][0]


def test_each_generation_that_no_pipeline_takes_is_a_report_of_its_own() -> None:
    reports = [
        as_json(only(told(that_no_pipeline_took(each)), DiagnosticReport)) for each in (1, 2)
    ]
    assert reports[0]["identifier"][0] != reports[1]["identifier"][0]


def test_how_sure_a_volume_is_stands_in_components_of_its_observation() -> None:
    plain, uncertain = with_findings(), for_review(with_findings(), "Low <volume> & more")
    observations = [as_json(each) for each in every(told(uncertain), Observation)]
    assert len(observations) == len(every(told(plain), Observation))
    components = observations[0]["component"]
    values = {c["code"]["text"]: c["valueQuantity"] for c in components if "valueQuantity" in c}
    assert [(v["value"], v["code"]) for v in values.values()] == [
        (0.4, "1"),
        (1.25, "mL"),
        (1.75, "mL"),
    ]
    assert not any("valueQuantity" in c for c in observations[1]["component"])


def test_a_result_for_review_says_so_in_conclusion_and_narrative() -> None:
    report = as_json(only(told(for_review(with_findings(), "a <b> c")), DiagnosticReport))
    assert "Marked for review: a <b> c." in report["conclusion"]
    assert "<b>Marked for review</b>: a &lt;b&gt; c" in report["text"]["div"]
    assert "review:" not in as_json(only(told(with_findings()), DiagnosticReport))["conclusion"]


def test_a_class_of_one_side_tells_the_side_as_a_component() -> None:
    left = CodedConcept("7771000", "SCT", "Left")
    finished = classified()
    sided = tuple(replace(one, type_modifier=left) for one in finished.measurements)
    found, _ = map(as_json, every(told(replace(finished, measurements=sided)), Observation))
    coded = [one for one in found["component"] if "coding" in one["code"]]
    sides = [one for one in coded if one["code"]["coding"][0]["code"] == "272741003"]
    assert [one["valueCodeableConcept"]["coding"][0]["code"] for one in sides] == ["7771000"]


def test_a_class_is_told_with_its_certainty_whether_found_or_not() -> None:
    bundle = told(classified())
    found, absent = map(as_json, every(bundle, Observation))
    assert [one["valueQuantity"]["value"] for one in (found, absent)] == [81.25, 2]
    assert found["valueQuantity"]["code"] == "%"
    codes = [one["interpretation"][0]["coding"][0]["code"] for one in (found, absent)]
    assert codes == ["POS", "NEG"]
    finding, point = absent["component"]
    assert finding["code"]["coding"][0]["code"] == "121071"
    assert (point["code"]["text"], point["valueQuantity"]["value"]) == ("Operating point", 40)
    assert "bodySite" not in found
    conclusion = as_json(only(bundle, DiagnosticReport))["conclusion"]
    assert "81.25 % (positive)" in conclusion
    assert "2 % (negative)" in conclusion
