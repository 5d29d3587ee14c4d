"""The PDF inside reports, and what earlier studies add to them."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message

from config.settings import FhirContent, Hl7Destination
from fhir.bundle import build_bundle, bundle_json
from fhir.document_reference import build_document
from fhir.hl7_report import build_oru
from fhir.references import logical_references
from fhir.report_pdf import MOST_DATA, told_left_out
from storage.prior_records import PriorMeasurement, PriorResult
from storage.records import FinishedJob
from tests.unit.fhir.finished_jobs import FINISHED_AT, with_findings

PDF = b"%PDF-1.4 a page\n"
LARGEST = PDF.ljust(MOST_DATA // 4 * 3)
TOO_LARGE = LARGEST + b" "
CONTENT = FhirContent()


def with_page(pdf: bytes = PDF) -> FinishedJob:
    return replace(with_findings(), report_pdf=pdf)


def with_priors() -> FinishedJob:
    finished = with_findings()
    one = finished.measurements[0]

    def prior(day: str, value: float) -> PriorResult:
        measured = PriorMeasurement(
            one.tracking_identifier, one.quantity, one.unit, value, value > 0
        )
        return PriorResult(day, "0.9.0", (measured,))

    return replace(finished, priors=(prior("20230102", 0.0), prior("20240304", 1.2187)))


def bundle(finished: FinishedJob, build: Any = build_bundle) -> Bundle:
    made: Bundle = build(
        finished,
        content=CONTENT,
        organization_name="Site",
        timezone="UTC",
        references=logical_references(finished, CONTENT),
        issued=FINISHED_AT,
    )
    return made


def resource(made: Bundle, kind: str) -> dict[str, Any]:
    """The one resource of a kind, as it goes over the wire."""
    resources = [each["resource"] for each in json.loads(bundle_json(made))["entry"]]
    (found,) = (each for each in resources if each["resourceType"] == kind)
    return dict(found)


def oru(finished: FinishedJob, *, include_pdf: bool) -> str:
    destination = Hl7Destination(
        type="hl7", name="ris", host="127.0.0.1", port=2575, include_pdf=include_pdf
    )
    return build_oru(finished, destination=destination, timezone="UTC", issued=FINISHED_AT).content


def test_the_report_presents_the_pdf_with_its_size_and_hash() -> None:
    (form,) = resource(bundle(with_page()), "DiagnosticReport")["presentedForm"]
    assert (form["contentType"], form["size"]) == ("application/pdf", len(PDF))
    assert base64.b64decode(form["data"]) == PDF
    assert base64.b64decode(form["hash"]) == hashlib.sha1(PDF).digest()


def test_without_a_pdf_there_is_no_presented_form() -> None:
    assert "presentedForm" not in resource(bundle(with_findings()), "DiagnosticReport")


def test_the_document_is_the_pdf() -> None:
    document = resource(bundle(with_page(), build_document), "DocumentReference")
    (content,) = document["content"]
    assert content["attachment"]["contentType"] == "application/pdf"
    assert base64.b64decode(content["attachment"]["data"]) == PDF


def test_a_pdf_of_the_most_that_an_ehr_takes_is_presented() -> None:
    (form,) = resource(bundle(with_page(LARGEST)), "DiagnosticReport")["presentedForm"]
    assert len(form["data"]) == MOST_DATA < 1024 * 1024
    assert told_left_out(with_page(LARGEST)) == {}


def test_a_report_goes_without_a_pdf_that_is_too_large_and_its_receipt_says_so() -> None:
    report = resource(bundle(with_page(TOO_LARGE)), "DiagnosticReport")
    assert "presentedForm" not in report
    assert report["conclusion"]
    assert told_left_out(with_page(TOO_LARGE)) == {
        "left_out": "PDF: 1000004 characters of base64, EHRs are sent 1000000 at the most"
    }


def test_a_withdrawal_does_not_tell_again_that_the_pdf_was_too_large() -> None:
    withdrawn = replace(with_page(TOO_LARGE), withdrawn_at=FINISHED_AT)
    assert told_left_out(withdrawn) == {}


def test_the_document_is_a_page_where_the_pdf_is_too_large() -> None:
    document = resource(bundle(with_page(TOO_LARGE), build_document), "DocumentReference")
    (content,) = document["content"]
    assert content["attachment"]["contentType"] == "application/xhtml+xml"


def test_the_message_holds_a_pdf_that_is_too_large_for_an_ehr() -> None:
    assert base64.b64encode(TOO_LARGE).decode() in oru(with_page(TOO_LARGE), include_pdf=True)


def test_an_earlier_value_stands_in_conclusion_and_narrative() -> None:
    report = resource(bundle(with_priors()), "DiagnosticReport")
    assert "1.523 mL (2024-03-04: 1.219 mL, change +25.0 %)" in report["conclusion"]
    rows = "<td>1.523 mL</td><td>not detected</td><td>1.219 mL</td><td>+25.0 %</td>"
    assert rows in report["text"]["div"]
    assert "<th>2023-01-02</th><th>2024-03-04</th>" in report["text"]["div"]


def test_the_message_holds_the_pdf_only_where_the_receiver_wants_it() -> None:
    message = parse_message(oru(with_page(), include_pdf=True), find_groups=False)
    (document,) = (each for each in message.obx if each.obx_2.value == "ED")
    parts = document.obx_5.value.split("^")
    assert parts[:4] == ["", "AP", "PDF", "Base64"]
    assert base64.b64decode(parts[4]) == PDF
    assert "|ED|" not in oru(with_page(), include_pdf=False)
    assert "|ED|" not in oru(with_findings(), include_pdf=True)


def test_the_message_tells_the_trend() -> None:
    assert "2024-03-04: 1.219 mL, change +25.0 %" in oru(with_priors(), include_pdf=False)
