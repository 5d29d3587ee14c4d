from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from node.status_table import status_json, status_table
from storage.dicom_records import StudyState
from storage.instance_files import uid_tag
from storage.overview_rows import DeliveryRow, JobRow, StudyRow
from storage.records import DeliveryState, DestinationKind, JobState, Outcome

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
DELIVERY = DeliveryRow(
    delivery_id=5,
    destination="pacs",
    kind=DestinationKind.DICOM,
    state=DeliveryState.PENDING,
    attempts=2,
    due_at=AT,
    reason_code="no_connection",
    reason_text="refused",
)
JOB = JobRow(
    job_id=7,
    pipeline_name="hippocampus_mr",
    generation=1,
    state=JobState.SUCCEEDED,
    attempts=1,
    outcome=Outcome.FINDINGS,
    reason_code="",
    reason_text="",
    started_at=AT,
    finished_at=AT,
    deliveries=(DELIVERY,),
)
STUDY = StudyRow(
    study_instance_uid="1.2.3",
    state=StudyState.ROUTED,
    generation=1,
    calling_ae_title="PACS",
    instance_count=36,
    replaced_count=2,
    last_received_at=AT,
    complete_evidence="counts",
    complete_at=AT,
    complete_waited_s=0.42,
    jobs=(JOB,),
)


def _shown(*studies: StudyRow) -> str:
    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(status_table(studies, AT))
    return capture.get()


def test_a_delivery_shows_what_the_pacs_did_not_take() -> None:
    delivery = replace(DELIVERY, left_out="PR: PACS does not take it")
    shown = _shown(replace(STUDY, jobs=(replace(JOB, deliveries=(delivery,)),)))
    assert "left out: PR: PACS does not take it" in " ".join(shown.split())


def test_a_study_shows_its_evidence_its_job_and_where_the_results_are() -> None:
    shown = _shown(STUDY)

    for text in (
        uid_tag("1.2.3"),
        "36 (2 replaced)",
        "routed (counts, after 0.4 s)",
        "succeeded - findings",
        "5 pacs: pending - no_connection: refused (try 2, next now)",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (timedelta(minutes=-3), "next now"),
        (timedelta(seconds=0.2), "next in 1 s"),
        (timedelta(seconds=120), "next in 120 s"),
        (timedelta(seconds=200), "next in 4 min"),
        (timedelta(hours=5), "next in 5 h"),
        (timedelta(days=3), "next in 3 days"),
    ],
)
def test_what_waits_shows_when_it_is_tried_next(wait: timedelta, told: str) -> None:
    again = replace(DELIVERY, due_at=AT + wait)
    first = replace(again, attempts=0, reason_code="")

    shown = _shown(replace(STUDY, jobs=(replace(JOB, deliveries=(again, first)),)))

    assert f"pending - no_connection: refused (try 2, {told})" in shown
    assert f"pending ({told})" in shown


def test_what_is_settled_has_no_next_try() -> None:
    dead = replace(DELIVERY, state=DeliveryState.DEAD)

    assert "next" not in _shown(replace(STUDY, jobs=(replace(JOB, deliveries=(dead,)),)))


def test_a_refused_study_shows_why() -> None:
    refused = replace(
        JOB,
        state=JobState.REFUSED,
        outcome=None,
        reason_code="missing_slices",
        reason_text="3 of 36 are missing",
        deliveries=(),
    )

    assert "missing_slices: 3 of 36 are missing" in _shown(replace(STUDY, jobs=(refused,)))


def test_a_study_without_a_job_has_its_line_too() -> None:
    waiting = replace(STUDY, state=StudyState.RECEIVING, complete_at=None, jobs=())

    assert "receiving" in _shown(waiting)


def test_square_brackets_in_a_reason_are_text_and_not_markup() -> None:
    refused = replace(JOB, state=JobState.REFUSED, reason_code="x", reason_text="[red]1[/red]")

    assert "[red]1[/red]" in _shown(replace(STUDY, jobs=(refused,)))


def test_the_json_has_every_field_and_is_plain() -> None:
    (study,) = json.loads(json.dumps(status_json((STUDY,))))["studies"]

    assert study["tag"] == uid_tag("1.2.3")
    assert study["study_instance_uid"] == "1.2.3"
    assert study["complete_at"] == "2026-03-01T08:00:00+00:00"
    assert study["jobs"][0]["outcome"] == "findings"
    assert study["jobs"][0]["deliveries"][0]["state"] == "pending"
