from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import CompletenessSettings
from node.completeness import Comparison, compare, evidence_of_completeness
from node.find_counts import PacsCounts, SeriesCount
from storage.dicom_records import StudyHeader, StudyRecord, StudyState
from storage.studies import StudyProgress

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SETTINGS = CompletenessSettings(quiet_time_s=10, quiet_time_after_abort_s=60)
MORE_EVIDENCE = "quiet_time (the PACS has more instances than have come)"


def _progress(
    *, quiet_s: float, running: int = 0, end: str | None = "released", ended_s: float | None = None
) -> StudyProgress:
    last = NOW - timedelta(seconds=quiet_s)
    study = StudyRecord(StudyHeader("1.2"), StudyState.RECEIVING, 1, "PACS", last, last)
    ended_at = (
        None if end is None else NOW - timedelta(seconds=quiet_s if ended_s is None else ended_s)
    )
    return StudyProgress(study, running, end, ended_at, {"1.2.1": 5})


def _evidence(progress: StudyProgress, comparison: Comparison = Comparison.UNKNOWN) -> str | None:
    return evidence_of_completeness(progress, comparison, SETTINGS, NOW)


def test_equal_counts_are_enough_at_once() -> None:
    assert _evidence(_progress(quiet_s=0), Comparison.EQUAL) == "pacs_counts"
    assert _evidence(_progress(quiet_s=0, running=2), Comparison.EQUAL) == "pacs_counts"
    assert _evidence(_progress(quiet_s=0, end="lost"), Comparison.EQUAL) == "pacs_counts"


@pytest.mark.parametrize(
    ("quiet_s", "evidence"), [(0, None), (9.9, None), (10, "quiet_time"), (1000, "quiet_time")]
)
def test_after_a_release_the_quiet_time_decides(quiet_s: float, evidence: str | None) -> None:
    assert _evidence(_progress(quiet_s=quiet_s)) == evidence


@pytest.mark.parametrize("end", ["aborted", "lost", None])
@pytest.mark.parametrize(
    ("quiet_s", "evidence"), [(10, None), (59.9, None), (60, "quiet_time_after_abort")]
)
def test_after_an_abort_it_takes_longer(
    end: str | None, quiet_s: float, evidence: str | None
) -> None:
    assert _evidence(_progress(quiet_s=quiet_s, end=end)) == evidence


def test_a_sender_that_hung_for_long_gets_its_time_from_the_abort_on() -> None:
    assert _evidence(_progress(quiet_s=100, end="lost", ended_s=5)) is None


@pytest.mark.parametrize("comparison", [Comparison.UNKNOWN, Comparison.MORE])
def test_a_running_association_means_not_complete(comparison: Comparison) -> None:
    assert _evidence(_progress(quiet_s=10_000, running=1), comparison) is None


def test_a_pacs_with_more_is_waited_for_but_not_for_ever() -> None:
    assert _evidence(_progress(quiet_s=30), Comparison.MORE) is None
    assert _evidence(_progress(quiet_s=60), Comparison.MORE) == MORE_EVIDENCE


def _counts(instances: int | None = None, **series: tuple[str, int | None]) -> PacsCounts:
    return PacsCounts(instances, {uid: SeriesCount(*count) for uid, count in series.items()})


@pytest.mark.parametrize(
    ("counts", "comparison"),
    [
        (None, Comparison.UNKNOWN),
        (_counts(), Comparison.UNKNOWN),
        (_counts(8), Comparison.EQUAL),
        (_counts(9), Comparison.MORE),
        (_counts(7), Comparison.UNKNOWN),
        (_counts(8, a=("MR", 5), b=("MR", 3)), Comparison.EQUAL),
        (_counts(8, a=("MR", None), b=("MR", None)), Comparison.EQUAL),
        (_counts(None, a=("MR", 5), b=("MR", 4)), Comparison.MORE),
        (_counts(None, a=("MR", 5), b=("MR", 2)), Comparison.UNKNOWN),
        (_counts(None, a=("MR", 5)), Comparison.UNKNOWN),
        (_counts(None, a=("MR", 5), b=("MR", None)), Comparison.UNKNOWN),
        (_counts(None, a=("MR", 6), b=("MR", None)), Comparison.MORE),
    ],
)
def test_counts_are_compared_by_series(counts: PacsCounts | None, comparison: Comparison) -> None:
    assert compare(counts, {"a": 5, "b": 3}) is comparison


def test_an_image_series_that_has_not_come_is_missing() -> None:
    counts = _counts(10, a=("MR", 5), c=("MR", 5))

    assert compare(counts, {"a": 5}) is Comparison.MORE


def test_an_image_series_of_unknown_modality_is_missing_too() -> None:
    assert compare(_counts(10, a=("MR", 5), c=("", 5)), {"a": 5}) is Comparison.MORE


@pytest.mark.parametrize("modality", ["SEG", "SR", "PR", "KO"])
def test_derived_objects_in_the_pacs_are_not_waited_for(modality: str) -> None:
    assert compare(_counts(7, a=("MR", 5), c=(modality, 2)), {"a": 5}) is Comparison.EQUAL


def test_our_own_series_in_the_pacs_are_not_waited_for() -> None:
    counts = _counts(7, a=("MR", 5), c=("OT", 2))

    assert compare(counts, {"a": 5}, frozenset({"c"})) is Comparison.EQUAL


def test_derived_objects_that_did_come_are_compared() -> None:
    counts = _counts(7, a=("MR", 5), c=("SR", 2))

    assert compare(counts, {"a": 5, "c": 1}) is Comparison.MORE
    assert compare(counts, {"a": 5, "c": 2}) is Comparison.EQUAL


SERIES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 50), min_size=1)


@given(received=SERIES, in_pacs=SERIES)
def test_equal_is_said_only_when_every_count_is_the_same(
    received: dict[str, int], in_pacs: dict[str, int]
) -> None:
    counts = _counts(None, **{uid: ("MR", number) for uid, number in in_pacs.items()})

    assert (compare(counts, received) is Comparison.EQUAL) == (received == in_pacs)


@given(received=SERIES, in_pacs=SERIES)
def test_one_series_with_more_in_the_pacs_is_enough_to_wait(
    received: dict[str, int], in_pacs: dict[str, int]
) -> None:
    counts = _counts(None, **{uid: ("MR", number) for uid, number in in_pacs.items()})
    has_more = any(number > received.get(uid, 0) for uid, number in in_pacs.items())

    assert (compare(counts, received) is Comparison.MORE) == has_more
