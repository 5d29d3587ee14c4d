from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.identifiers import ResultIdentity
from fhir.observation import build_observation, rounded
from fhir.references import literal, organization
from fhir.report_context import ReportContext
from storage.dicom_records import CodedConcept
from storage.records import MeasurementRecord
from tests.unit.fhir.finished_jobs import FINISHED_AT, measurement

CONTEXT = ReportContext(
    identity=ResultIdentity(system="urn:radnode:result", key="a job"),
    subject=literal("Patient", "1"),
    device=literal("Device", "2"),
    performer=organization("Radiology"),
    based_on=None,
    imaging_study=literal("ImagingStudy", "3"),
    effective=None,
    issued=FINISHED_AT,
)


def told(record: MeasurementRecord) -> dict[str, Any]:
    observation: dict[str, Any] = json.loads(
        build_observation(record, (), CONTEXT).model_dump_json()
    )
    return observation


def test_a_volume_is_told_in_ucum_with_its_structure_as_body_site() -> None:
    observation = told(measurement(value=1.5234))
    assert observation["valueQuantity"] == {
        "value": 1.523,
        "unit": "mL",
        "system": "http://unitsofmeasure.org",
        "code": "mL",
    }
    assert observation["code"]["coding"][0]["code"] == "118565006"
    assert observation["bodySite"]["coding"][0]["system"] == "http://snomed.info/sct"
    assert observation["bodySite"]["text"] == "Anterior hippocampus"
    assert "dataAbsentReason" not in observation


def test_an_absent_structure_has_no_volume_of_zero() -> None:
    observation = told(measurement(is_present=False))
    assert "valueQuantity" not in observation
    assert observation["interpretation"][0]["coding"][0]["code"] == "ND"
    assert observation["dataAbsentReason"]["coding"][0]["code"] == "not-applicable"


def test_an_observation_says_by_itself_that_nobody_has_reviewed_it() -> None:
    observation = told(measurement())
    assert observation["status"] == "preliminary"
    assert observation["meta"]["security"][0]["code"] == "AIAST"
    assert observation["note"] == [{"text": "AI-generated, not reviewed by a physician."}]
    assert observation["device"]["reference"] == "Device/2"
    assert observation["category"][0]["coding"][0]["code"] == "imaging"


def test_the_tracking_uid_of_seg_and_sr_identifies_the_observation_too() -> None:
    record = measurement()
    identifiers = told(record)["identifier"]
    assert identifiers[0]["system"] == "urn:radnode:result"
    assert identifiers[1] == {
        "system": "urn:dicom:uid",
        "value": f"urn:oid:{record.tracking_uid}",
    }


def test_two_quantities_of_one_structure_are_two_observations() -> None:
    diameter = replace(measurement(), quantity=CodedConcept("81827009", "SCT", "Diameter"))
    own = [told(each)["identifier"][0]["value"] for each in (measurement(), diameter)]
    assert own[0] != own[1]


@pytest.mark.parametrize(
    ("modifier", "name"),
    [
        (CodedConcept("7771000", "SCT", "Left"), "272741003"),
        (CodedConcept("24028007", "SCT", "Right"), "272741003"),
        (CodedConcept("255549009", "SCT", "Anterior"), "106233006"),
    ],
)
def test_side_and_part_are_coded_and_not_only_text(modifier: CodedConcept, name: str) -> None:
    (component,) = told(replace(measurement(), type_modifier=modifier))["component"]
    assert component["code"]["coding"][0]["code"] == name
    assert component["valueCodeableConcept"]["coding"][0]["code"] == modifier.value


def test_the_body_site_is_the_structure_and_not_the_region_around_it() -> None:
    brain = CodedConcept("12738006", "SCT", "Brain")
    observation = told(replace(measurement(), anatomic_region=brain, type_modifier=None))
    assert observation["bodySite"]["coding"][0]["code"] == "5366008"
    assert "component" not in observation


@pytest.mark.parametrize("region", [CodedConcept("10200004", "SCT", "Liver"), None])
def test_a_lesion_is_coded_as_finding_beside_the_organ_where_it_is(
    region: CodedConcept | None,
) -> None:
    lesion = replace(
        measurement(),
        category=CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure"),
        property_type=CodedConcept("108369006", "SCT", "Neoplasm"),
        anatomic_region=region,
        type_modifier=None,
    )
    observation = told(lesion)
    assert ("bodySite" in observation) == (region is not None)
    if region is not None:
        assert observation["bodySite"]["coding"][0]["code"] == region.value
    (component,) = observation["component"]
    assert component["code"]["coding"][0]["code"] == "121071"
    assert component["valueCodeableConcept"]["coding"][0]["code"] == "108369006"


def test_a_private_code_stays_text() -> None:
    private = CodedConcept("X1", "99SITE", "Site measure")
    observation = told(replace(measurement(), quantity=private, unit=private))
    assert observation["code"] == {"text": "Anterior hippocampus, Site measure"}
    assert observation["valueQuantity"] == {"value": 1.523, "unit": "X1"}


@given(st.floats(min_value=0, max_value=1e9))
def test_a_rounded_value_differs_by_half_a_cubic_millimetre_at_most(value: float) -> None:
    assert abs(float(rounded(value)) - value) <= 0.0005 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (1.5, "1.5"), (100.0, "100"), (0.0004, "0"), (12.3456, "12.346")],
)
def test_a_value_reads_without_trailing_zeros(value: float, text: str) -> None:
    assert f"{rounded(value):f}" == text
