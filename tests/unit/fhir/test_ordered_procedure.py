"""The code of what was ordered, where the images state it, in report and study."""

from __future__ import annotations

from typing import Any

import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.imagingstudy import ImagingStudy

from storage.dicom_records import CodedConcept
from tests.unit.fhir.finished_jobs import of_study, with_findings
from tests.unit.fhir.told_bundles import CREATING, as_json, only
from tests.unit.fhir.told_bundles import told as bundle_of

MR_HEAD = CodedConcept("24590-2", "LN", "MR Brain")
OF_THE_SITE = CodedConcept("MRHEAD", "L", "MR head")


def told(procedure: CodedConcept | None) -> tuple[dict[str, Any], dict[str, Any]]:
    bundle = bundle_of(of_study(with_findings(), procedure_code=procedure), CREATING)
    return as_json(only(bundle, DiagnosticReport)), as_json(only(bundle, ImagingStudy))


def test_the_report_has_the_code_of_the_order() -> None:
    report, study = told(MR_HEAD)
    coding = {"system": "http://loinc.org", "code": "24590-2", "display": "MR Brain"}
    assert report["code"]["coding"] == [coding]
    assert report["code"]["text"].startswith("AI analysis: ")
    assert study["procedureCode"] == [{"coding": [coding], "text": "MR Brain"}]


def test_a_code_of_the_site_alone_names_the_study_and_leaves_the_report_its_general_code() -> None:
    report, study = told(OF_THE_SITE)
    assert report["code"]["coding"][0]["code"] == "18748-4"
    assert study["procedureCode"] == [{"text": "MR head"}]


@pytest.mark.parametrize("value", ["MR  HEAD", " "])
def test_what_r4_takes_for_no_code_leaves_the_report_its_general_code(value: str) -> None:
    report, study = told(CodedConcept(value, "LN", "MR head"))
    assert report["code"]["coding"][0]["code"] == "18748-4"
    assert study["procedureCode"] == [{"text": "MR head"}]


@pytest.mark.parametrize("procedure", [None, CodedConcept("", "", "")])
def test_without_a_code_the_report_is_a_diagnostic_imaging_study(
    procedure: CodedConcept | None,
) -> None:
    report, study = told(procedure)
    assert report["code"]["coding"][0]["code"] == "18748-4"
    assert "procedureCode" not in study
