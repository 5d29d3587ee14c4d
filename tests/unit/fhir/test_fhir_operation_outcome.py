from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.operation_outcome import summary


def outcome(*issues: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": list(issues)}


def test_issue_types_and_places_are_told() -> None:
    told = summary(
        outcome(
            {"code": "required", "expression": ["Bundle.entry[2].resource.status"]},
            {"code": "processing"},
        )
    )
    assert told == "required at Bundle.entry[2].resource.status; processing"


def test_a_typed_step_is_told() -> None:
    place = "Bundle.entry[0].resource.ofType(Observation).value.ofType(Quantity).code"
    assert place in summary(outcome({"code": "code-invalid", "expression": [place]}))


@pytest.mark.parametrize(
    "place",
    ["DiagnosticReport.presentedForm[0].data", "DocumentReference.content[0].attachment.data"],
)
def test_a_place_within_a_document_is_told(place: str) -> None:
    assert summary(outcome({"code": "invalid", "expression": [place]})) == f"invalid at {place}"


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.name.where(family='Mustermann')",
        "Bundle.entry[20250304].resource",
        "Mustermann.status",
        "DiagnosticReport.conclusion.Mustermann",
        "DiagnosticReport status of Mustermann",
    ],
)
def test_a_place_that_holds_other_words_is_not_told(expression: str) -> None:
    assert summary(outcome({"code": "value", "expression": [expression]})) == "value"


def test_only_the_first_issues_are_told() -> None:
    issues = [{"code": "value", "expression": [f"Bundle.entry[{n}]"]} for n in range(100)]
    assert summary(outcome(*issues)).count("value") == 5


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"resourceType": "OperationOutcome"}, {"resourceType": "Patient", "issue": []}],
)
def test_anything_else_gives_no_reason(answer: Any) -> None:
    assert summary(answer) == "no reason given"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["code", "expression", "details", "location"]), json_values))
def test_whatever_a_server_answers_can_be_told(issue: dict[str, Any]) -> None:
    assert summary(outcome(issue))


private_texts = st.text(min_size=1, max_size=30).map(lambda text: f"Zz{text}zZ")


@given(private_texts)
def test_no_text_of_the_server_is_passed_on(private: str) -> None:
    issue = {
        "severity": private,
        "code": private,
        "details": {"text": private, "coding": [{"code": private, "display": private}]},
        "diagnostics": private,
        "location": [private],
        "expression": [private, f"Patient.{private}", f"Patient.where(id='{private}')"],
    }
    assert private not in summary(outcome(issue))
