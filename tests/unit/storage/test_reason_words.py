"""Why a job has no result, as the patient's record says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.reason_words import reason_in_words
from storage.records import JobRecord, JobState
from tests.unit.fhir.finished_jobs import without_result

PATH = "/srv/radnode/bundles/ct/configs: nothing is there; fetch the bundle again"


def job(state: JobState, code: str, text: str = PATH) -> JobRecord:
    return without_result(state, code, text).job


def test_a_failure_is_told_by_its_kind_and_its_text_stays_with_the_job() -> None:
    failed = job(JobState.FAILED, "invalid_bundle")
    assert reason_in_words(failed) == "the files of the model are missing or cannot be used"
    assert failed.reason_text == PATH


def test_a_failure_of_a_kind_without_words_has_its_code_alone() -> None:
    assert reason_in_words(job(JobState.FAILED, "something_new")) == ""


def test_figures_of_images_that_were_not_processed_are_told() -> None:
    told = reason_in_words(job(JobState.REFUSED, "missing_slices", "2 of 36 are missing"))
    assert told == "2 of 36 are missing"


@pytest.mark.parametrize("code", ["pipeline_changed", "routing_failed"])
def test_a_study_that_was_not_processed_for_a_reason_of_the_node_is_told_without_its_text(
    code: str,
) -> None:
    words = reason_in_words(job(JobState.REFUSED, code))
    assert words
    assert PATH not in words


def test_newer_work_does_not_bring_the_text_of_a_failure_back() -> None:
    failed = job(JobState.FAILED, "invalid_bundle")
    superseded = replace(failed, state=JobState.SUPERSEDED)
    assert reason_in_words(superseded) == reason_in_words(failed)
