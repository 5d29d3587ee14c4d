from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from node.demo.expectations import Repeat, mean_dices, shortcomings
from node.demo.node_view import NodeView
from node.demo.results import StudyResult
from node.demo.studies import FINDINGS, MISSING_SLICES, DemoStudy
from node.demo.table import print_results
from node.demo.timing import COLUMNS, seconds
from storage.dicom_records import StudyHeader, StudyRecord, StudyState
from storage.records import (
    DeliveryRecord,
    DeliveryState,
    DestinationKind,
    JobRecord,
    JobState,
    Outcome,
)

NOON = datetime(2024, 1, 16, 12, tzinfo=UTC)
NOTHING_NEW = Repeat(62, jobs=(1, 1), received=(2, 2), reports=(1, 1), generations=(1, 1))
STAGE_TIMES = {
    "read": 0.25,
    "load_model": 0.25,
    "preprocess": 0.25,
    "inference": 1.0,
    "seg": 0.5,
    "sr": 0.25,
    "proof": 0.25,
}


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def study_record() -> StudyRecord:
    return StudyRecord(
        header=StudyHeader("1.2.3"),
        state=StudyState.ROUTED,
        generation=1,
        calling_ae_title="DEMO_PACS",
        first_received_at=at(0),
        last_received_at=at(1),
        complete_evidence="counts",
        complete_at=at(1.5),
    )


def job(**changes: Any) -> JobRecord:
    whole = JobRecord(
        job_id=1,
        study_instance_uid="1.2.3",
        generation=1,
        pipeline_name="hippocampus_mr",
        pipeline_digest="p",
        input_digest="i",
        inputs=(),
        algorithm=None,
        destinations=(),
        state=JobState.SUCCEEDED,
        priority=100,
        attempts=1,
        max_attempts=3,
        due_at=NOON,
        created_at=at(1.5),
        started_at=at(2.5),
        finished_at=at(5.5),
        outcome=Outcome.FINDINGS,
        stage_times_s=STAGE_TIMES,
    )
    return replace(whole, **changes)


def delivery(state: DeliveryState) -> DeliveryRecord:
    return DeliveryRecord(
        delivery_id=1,
        job_id=1,
        destination="pacs",
        kind=DestinationKind.DICOM,
        state=state,
        attempts=1,
        due_at=NOON,
        created_at=at(5.5),
        settled_at=at(6) if state != DeliveryState.PENDING else None,
    )


def found(**changes: Any) -> StudyResult:
    """A study that went as it should."""
    deliveries = (delivery(DeliveryState.SENT),)
    whole = StudyResult(
        study=DemoStudy(1, "brain", "Brain MR", "1.2.3", FINDINGS, truth=Path("label.nii.gz")),
        view=NodeView(study_record(), (job(),), deliveries),
        series_description="HippoCrop",
        series_reason="series 11 fits alone",
        volumes_ml={"Anterior": 1.5, "Posterior": 1.4},
        dices={"Anterior": 0.9, "Posterior": 0.88},
        pacs={"SEG": 1, "SR": 1},
        ehr=(Path("report.json"),),
    )
    return replace(whole, **changes)


def refused(**changes: Any) -> StudyResult:
    """A study that was refused as it should be."""
    stopped = job(
        state=JobState.REFUSED,
        outcome=None,
        reason_code=MISSING_SLICES,
        reason_text="a step of 2.0 mm",
    )
    whole = StudyResult(
        study=DemoStudy(2, "gap", "A gap", "1.2.4", MISSING_SLICES),
        view=NodeView(study_record(), (stopped,)),
        pacs={"SEG": 0, "SR": 0},
    )
    return replace(whole, **changes)


def test_nothing_is_missing_when_all_went_well() -> None:
    assert shortcomings([found(), refused()], NOTHING_NEW) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"series_description": "T1post"}, "analysed series 'T1post'"),
        ({"pacs": {"SEG": 1, "SR": 0}}, "the PACS holds 0 SR"),
        ({"pacs": {"SEG": 2, "SR": 1}}, "the PACS holds 2 SEG"),
        ({"ehr": ()}, "the EHR holds 0 reports"),
        ({"volumes_ml": {"Anterior": 0.0, "Posterior": 1.4}}, "Anterior measures 0.00 mL"),
        ({"volumes_ml": {"Anterior": 9.0, "Posterior": 1.4}}, "Anterior measures 9.00 mL"),
        ({"dices": {"Anterior": 0.9}}, "not in the SEG"),
        ({"problem": "a voxel lies outside"}, "a voxel lies outside"),
        ({"dices": {"Anterior": 0.9, "Posterior": 0.6}}, "Dice of Posterior is 0.600"),
        ({"dices": {"Anterior": 0.8, "Posterior": 0.9}}, "mean Dice of Anterior is 0.800"),
        ({"view": NodeView(study_record())}, "not done in time (stage 1 of 4)"),
        (
            {"view": NodeView(study_record(), (job(),), (delivery(DeliveryState.DEAD),))},
            "not every delivery succeeded",
        ),
        (
            {"view": NodeView(study_record(), (job(),), (delivery(DeliveryState.PENDING),))},
            "not done in time (stage 3 of 4)",
        ),
        (
            {"view": NodeView(study_record(), (job(outcome=Outcome.NO_FINDINGS),))},
            "ended as no_findings, not findings",
        ),
    ],
)
def test_whatever_is_missing_is_named(changes: dict[str, Any], message: str) -> None:
    assert any(message in text for text in shortcomings([found(**changes)], NOTHING_NEW))


def test_a_refusal_for_another_reason_is_named() -> None:
    other = refused(view=NodeView(study_record(), (job(state=JobState.REFUSED, outcome=None),)))

    assert "not missing_slices" in shortcomings([other], NOTHING_NEW)[0]


def test_results_of_a_refused_study_are_named() -> None:
    assert "sent out results" in shortcomings([refused(pacs={"SEG": 1})], NOTHING_NEW)[0]


@pytest.mark.parametrize("field", ["jobs", "received", "reports", "generations"])
def test_whatever_the_repeat_added_is_named(field: str) -> None:
    added: dict[str, Any] = {field: (1, 2)}
    repeat = replace(NOTHING_NEW, **added)

    assert "added something" in shortcomings([found()], repeat)[0]


def test_means_are_taken_over_the_studies_with_a_truth() -> None:
    results = [found(), found(dices={"Anterior": 0.8}), refused()]

    assert mean_dices(results) == pytest.approx({"Anterior": 0.85, "Posterior": 0.88})


def test_a_study_that_was_refused_is_not_said_to_be_delivered() -> None:
    assert refused().view.stages == ("sent", "complete", "refused")
    assert found().view.stages == ("sent", "complete", "computed", "delivered")
    assert NodeView(study_record()).stages == ("sent",)
    assert NodeView().stages == ()


def test_the_seconds_of_the_stages_follow_from_the_times_of_the_node() -> None:
    view = NodeView(study_record(), (job(),), (delivery(DeliveryState.SENT),))

    assert seconds(view) == {
        "complete": 0.5,
        "waiting": 1.0,
        "read": 0.25,
        "prepare": 0.5,
        "infer": 1.0,
        "objects": 1.0,
        "deliver": 0.5,
        "total": 6.0,
    }
    assert tuple(seconds(view)) == COLUMNS


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_tables_fit_a_terminal_and_say_all_there_is_to_say(width: int) -> None:
    told = StringIO()
    console = Console(file=told, width=width)

    print_results(console, [found(), refused()], NOTHING_NEW)

    text = told.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    for word in ("HippoCrop", "findings", "missing_slices", "1.50", "0.900", "1 SEG", "1 SR"):
        assert word in text
    assert "nothing added" in " ".join(text.split())
    assert "…" not in text
