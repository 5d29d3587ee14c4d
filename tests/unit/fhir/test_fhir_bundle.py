from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.provenance import Provenance
from hypothesis import given
from hypothesis import strategies as st

from config.settings import FhirContent, PatientSystem
from fhir.bundle import build_bundle, bundle_json
from fhir.errors import PermanentFhirError
from fhir.references import References, literal, logical_references
from storage.dicom_records import CodedConcept, PatientIdentity, SeriesHeader, SeriesRecord
from storage.records import FinishedJob, JobState
from tests.unit.fhir.finished_jobs import (
    FINISHED_AT,
    STUDY_UID,
    classified,
    for_review,
    measurement,
    of_patient,
    of_study,
    that_no_pipeline_took,
    with_findings,
    without_findings,
    without_result,
)

Kind = TypeVar("Kind")

CONTENT = FhirContent(
    patient_systems=(PatientSystem(issuer="HOSPITAL", system="urn:oid:1.2.3"),),
    accession_system="urn:oid:1.2.4",
)
CREATING = CONTENT.model_copy(update={"imaging_study": "create"})


def told(finished: FinishedJob, content: FhirContent = CONTENT) -> Bundle:
    return build_bundle(
        finished,
        content=content,
        organization_name="Radiology",
        timezone="Europe/Berlin",
        references=logical_references(finished, content),
        issued=FINISHED_AT,
    )


def only(bundle: Bundle, kind: type[Kind]) -> Kind:
    (found,) = every(bundle, kind)
    return found


def every(bundle: Bundle, kind: type[Kind]) -> list[Kind]:
    return [each.resource for each in bundle.entry or [] if isinstance(each.resource, kind)]


def as_json(resource: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(resource.model_dump_json())
    return value


def test_the_report_says_that_it_is_preliminary_and_made_by_ai() -> None:
    report = as_json(only(told(with_findings()), DiagnosticReport))
    assert report["status"] == "preliminary"
    assert [label["code"] for label in report["meta"]["security"]] == ["AIAST"]
    assert report["conclusion"].startswith("AI-generated, not reviewed by a physician.")
    assert "AI-generated, not reviewed by a physician." in report["text"]["div"]
    assert "resultsInterpreter" not in report


def test_the_report_is_categorised_and_coded_as_radiology() -> None:
    report = as_json(only(told(with_findings()), DiagnosticReport))
    codes = [(c["system"], c["code"]) for each in report["category"] for c in each["coding"]]
    assert codes == [
        ("http://loinc.org", "LP29684-5"),
        ("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD"),
    ]
    assert report["code"]["coding"][0]["code"] == "18748-4"


def test_the_report_tells_when_images_were_made_and_when_the_job_was_finished() -> None:
    report = as_json(only(told(with_findings()), DiagnosticReport))
    assert report["effectiveDateTime"] == "2025-03-04T10:15:30+01:00"
    assert report["issued"] == "2025-03-04T09:31:12Z"


def test_the_report_points_at_order_study_and_site_without_making_them() -> None:
    bundle = told(with_findings())
    report = as_json(only(bundle, DiagnosticReport))
    assert report["basedOn"][0]["identifier"]["type"]["coding"][0]["code"] == "ACSN"
    assert report["basedOn"][0]["identifier"]["value"] == "ACC-0815"
    study = report["imagingStudy"][0]["identifier"]
    assert study == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"}
    assert report["performer"] == [{"type": "Organization", "display": "Radiology"}]
    kinds = {entry["resource"]["resourceType"] for entry in as_json(bundle)["entry"]}
    assert kinds == {"Device", "Observation", "DiagnosticReport", "Provenance"}
    assert "contained" not in bundle_json(bundle)


def test_a_study_without_accession_number_rests_on_no_order() -> None:
    bundle = told(of_study(with_findings(), accession_number="  "))
    assert only(bundle, DiagnosticReport).basedOn is None
    assert all(each.basedOn is None for each in every(bundle, Observation))


def test_results_of_the_report_are_the_observations_in_their_order() -> None:
    bundle = told(with_findings())
    urls = [e.fullUrl for e in bundle.entry or [] if isinstance(e.resource, Observation)]
    report = as_json(only(bundle, DiagnosticReport))
    assert [each["reference"] for each in report["result"]] == urls


def test_a_job_without_findings_still_makes_a_report_that_says_so() -> None:
    report = as_json(only(told(without_findings()), DiagnosticReport))
    assert report["status"] == "preliminary"
    assert "no findings" in report["conclusion"]
    assert report["conclusionCode"][0]["coding"][0]["code"] == "111241"
    assert len(report["result"]) == 2


def test_the_sr_and_the_report_carry_the_same_uid() -> None:
    finished = with_findings()
    report = as_json(only(told(finished), DiagnosticReport))
    sr_uid = finished.objects[1].sop_instance_uid
    assert {"system": "urn:dicom:uid", "value": f"urn:oid:{sr_uid}"} in report["identifier"]


def test_the_device_is_the_model_by_its_digest() -> None:
    finished = with_findings()
    device = as_json(only(told(finished), Device))
    assert device["identifier"][0] == {
        "system": "urn:radnode:result",
        "value": finished.algorithm.model_digest,
    }
    assert device["identifier"][1]["value"] == f"urn:oid:{finished.algorithm.device_uid}"
    assert device["deviceName"] == [{"name": "hippocampus_mr", "type": "model-name"}]
    assert device["version"] == [{"value": "1.0.0"}]


def test_provenance_names_the_device_on_behalf_of_the_site() -> None:
    bundle = told(with_findings())
    provenance = as_json(only(bundle, Provenance))
    device_url = next(e.fullUrl for e in bundle.entry or [] if isinstance(e.resource, Device))
    (agent,) = provenance["agent"]
    assert agent["who"]["reference"] == device_url
    assert agent["onBehalfOf"]["display"] == "Radiology"
    assert provenance["reason"][0]["coding"][0]["code"] == "AIAST"
    assert provenance["entity"][0]["role"] == "source"
    assert len(provenance["target"]) == 3


def test_every_entry_but_provenance_is_created_only_once() -> None:
    for entry in as_json(told(with_findings(), CREATING))["entry"]:
        is_conditional = "ifNoneExist" in entry["request"]
        assert is_conditional == (entry["resource"]["resourceType"] != "Provenance")


def test_a_created_imaging_study_lists_source_and_result_series() -> None:
    bundle = told(with_findings(), CREATING)
    study = as_json(only(bundle, ImagingStudy))
    assert [each["code"] for each in study["modality"]] == ["MR", "SEG", "SR"]
    assert [each["numberOfInstances"] for each in study["series"]] == [36, 1, 1]
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (3, 38)
    assert study["started"] == "2025-03-04T10:15:30+01:00"
    (seg,) = study["series"][1]["instance"]
    assert seg["sopClass"]["code"] == "urn:oid:1.2.840.10008.5.1.4.1.1.66.4"
    report = as_json(only(bundle, DiagnosticReport))
    assert report["imagingStudy"][0]["reference"].startswith("urn:uuid:")


def test_an_imaging_study_that_the_server_has_is_not_created_again() -> None:
    finished = with_findings()
    known = literal("ImagingStudy", "7")
    references = References(literal("Patient", "1"), None, known)
    bundle = build_bundle(
        finished,
        content=CREATING,
        organization_name="Radiology",
        timezone="UTC",
        references=references,
        issued=FINISHED_AT,
    )
    assert every(bundle, ImagingStudy) == []
    report = as_json(only(bundle, DiagnosticReport))
    assert report["imagingStudy"] == [{"reference": "ImagingStudy/7", "type": "ImagingStudy"}]


def test_omitting_the_imaging_study_leaves_no_trace_of_it() -> None:
    content = CONTENT.model_copy(update={"imaging_study": "omit"})
    assert "ImagingStudy" not in bundle_json(told(with_findings(), content))


def test_series_with_faulty_headers_are_told_as_far_as_r4_allows() -> None:
    header = SeriesHeader(series_instance_uid="1.2.3", modality="", series_number=-4)
    series = SeriesRecord(header=header, study_instance_uid=STUDY_UID, instance_count=1)
    finished = replace(with_findings(), series=(series,))
    first = as_json(only(told(finished, CREATING), ImagingStudy))["series"][0]
    assert first["modality"]["code"] == "OT"
    assert "number" not in first


def test_the_same_job_gives_the_same_bytes() -> None:
    assert bundle_json(told(with_findings())) == bundle_json(told(with_findings()))


@pytest.mark.parametrize("digest", ["pipeline_digest", "input_digest", "study_instance_uid"])
def test_another_result_gets_other_identifiers(digest: str) -> None:
    finished = with_findings()
    job = replace(finished.job, **{digest: "1.2.3"})  # type: ignore[arg-type]
    other = replace(finished, job=job)
    urls = {each.fullUrl for each in told(finished).entry or []}
    assert urls.isdisjoint({each.fullUrl for each in told(other).entry or []})


def test_a_repeated_run_of_the_same_job_keeps_its_identifiers() -> None:
    finished = with_findings()
    again = replace(finished, job=replace(finished.job, job_id=99, attempts=3))
    assert bundle_json(told(again)) == bundle_json(told(finished))


def test_a_job_that_r4_cannot_say_is_refused_without_quoting_it() -> None:
    header = SeriesHeader(series_instance_uid="PRIVATE NAME" * 9, modality="MR")
    series = SeriesRecord(header=header, study_instance_uid=STUDY_UID, instance_count=1)
    with pytest.raises(PermanentFhirError) as caught:
        told(replace(with_findings(), series=(series,)), CREATING)
    assert caught.value.code == "not_representable"
    assert "PRIVATE" not in str(caught.value)
    assert "uid" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    finished = replace(with_findings(), measurements=(measurement(value=value),))
    with pytest.raises(PermanentFhirError, match="not_representable"):
        told(finished)


def test_an_unfinished_job_is_not_reported() -> None:
    finished = with_findings()
    with pytest.raises(PermanentFhirError, match="not_finished"):
        told(replace(finished, job=replace(finished.job, outcome=None)))


any_text = st.text(max_size=40)


@given(any_text, any_text, any_text, any_text, any_text)
def test_any_header_text_makes_a_bundle_that_can_be_read_again(
    patient_id: str, name: str, description: str, accession: str, structure: str
) -> None:
    patient = PatientIdentity(patient_id=patient_id, patient_name=name)
    finished = of_study(
        of_patient(patient), study_description=description, accession_number=accession
    )
    finished = replace(finished, measurements=(measurement(structure=structure),))
    text = bundle_json(told(finished, CREATING))
    assert bundle_json(Bundle.model_validate_json(text)) == text


@given(st.text(alphabet="ÄÖÜäöüßéèñçøłŽžабвДЖ山田太郎김철수", min_size=3, max_size=20))
def test_the_name_of_the_patient_is_nowhere_in_the_bundle(name: str) -> None:
    finished = of_patient(PatientIdentity(patient_id="1", patient_name=f"{name}^{name}"))
    assert name not in bundle_json(told(finished, CREATING))


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-12 * 60, 14 * 60))
def test_issued_is_the_same_instant_in_any_zone(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=UTC)
    elsewhere = aware.astimezone(timezone(timedelta(minutes=minutes)))
    finished = with_findings()
    made = [
        build_bundle(
            finished,
            content=CONTENT,
            organization_name="Radiology",
            timezone="UTC",
            references=logical_references(finished, CONTENT),
            issued=issued,
        )
        for issued in (aware, elsewhere)
    ]
    assert bundle_json(made[0]) == bundle_json(made[1])


WITHOUT_RESULT = {
    "not processed": without_result(),
    "failed": without_result(JobState.FAILED, "inference_failed", "the model broke"),
    "no pipeline": that_no_pipeline_took(),
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
    assert reason["text"] == finished.job.reason_text
    assert finished.job.reason_text in report["conclusion"]
    assert report["conclusion"].startswith("No AI result")


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
