from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.provenance import Provenance
from hypothesis import given
from hypothesis import strategies as st

from fhir.bundle import build_bundle, bundle_json
from fhir.errors import PermanentFhirError
from fhir.references import References, literal, logical_references
from storage.dicom_records import PatientIdentity, SeriesHeader, SeriesRecord
from storage.records import ObjectKind
from tests.unit.fhir.finished_jobs import (
    FINISHED_AT,
    STUDY_UID,
    measurement,
    of_patient,
    of_study,
    result_object,
    with_findings,
    without_findings,
)
from tests.unit.fhir.told_bundles import CONTENT, CREATING, as_json, every, only, told


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


def test_series_of_results_have_the_modality_that_a_pacs_files_them_under() -> None:
    kinds = ObjectKind.HEAT, ObjectKind.KOS, ObjectKind.PR
    report = result_object(ObjectKind.SR, 9002)
    more = (
        replace(report, kind=kind, series_number=number, series_instance_uid=f"2.25.{number}")
        for number, kind in enumerate(kinds, 9005)
    )
    finished = replace(with_findings(), objects=(report, *more))
    study = as_json(only(told(finished, CREATING), ImagingStudy))
    modalities = [each["modality"]["code"] for each in study["series"]]
    assert modalities == ["MR", "SR", "OT", "KO", "PR"]


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


@pytest.mark.parametrize("modality", ["", "M  R"])
def test_series_with_faulty_headers_are_told_as_far_as_r4_allows(modality: str) -> None:
    header = SeriesHeader(series_instance_uid="1.2.3", modality=modality, series_number=-4)
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
