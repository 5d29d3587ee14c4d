from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import CompletenessSettings
from node.completeness import Quiet, evidence_of_completeness
from node.counts_comparison import Comparison, compare
from node.find_counts import PacsCounts, SeriesCount
from storage.dicom_records import StudyHeader, StudyRecord, StudyState
from storage.evidence_records import NO_LISTS, ListEvidence, ListSource
from storage.studies import StudyProgress

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SETTINGS = CompletenessSettings(quiet_time_s=10, quiet_time_after_abort_s=60)
MORE_EVIDENCE = "quiet_time (the PACS has more instances than have come)"


PROVED = ListEvidence((ListSource.AVAILABILITY,))


def _progress(
    *,
    running: int = 0,
    end: str | None = "released",
    lists: ListEvidence = NO_LISTS,
    is_resent: bool = False,
) -> StudyProgress:
    study = StudyRecord(StudyHeader("1.2"), StudyState.RECEIVING, 1, "PACS", NOW, NOW)
    ended_at = None if end is None else NOW
    return StudyProgress(study, running, end, ended_at, {"1.2.1": 5}, lists, is_resent)


def _evidence(
    progress: StudyProgress,
    quiet_s: float,
    comparison: Comparison = Comparison.UNKNOWN,
    *,
    ended_s: float | None = None,
    covered: str | None = None,
) -> str | None:
    quiet = Quiet(quiet_s, quiet_s if ended_s is None else ended_s)
    return evidence_of_completeness(progress, comparison, SETTINGS, quiet, lambda: covered)


@pytest.mark.parametrize(("running", "end"), [(0, "released"), (2, "released"), (0, "lost")])
def test_proof_is_enough_at_once(running: int, end: str) -> None:
    counted = _progress(running=running, end=end)
    listed = _progress(running=running, end=end, lists=PROVED)

    assert _evidence(counted, 0, Comparison.EQUAL) == "pacs_counts"
    assert _evidence(listed, 0) == "instance_list (availability)"


@pytest.mark.parametrize(
    ("quiet_s", "evidence"), [(0, None), (9.9, None), (10, "quiet_time"), (1000, "quiet_time")]
)
def test_after_a_release_the_quiet_time_decides(quiet_s: float, evidence: str | None) -> None:
    assert _evidence(_progress(), quiet_s) == evidence


@pytest.mark.parametrize("end", ["aborted", "lost", None])
@pytest.mark.parametrize(
    ("quiet_s", "evidence"), [(10, None), (59.9, None), (60, "quiet_time_after_abort")]
)
def test_after_an_abort_it_takes_longer(
    end: str | None, quiet_s: float, evidence: str | None
) -> None:
    assert _evidence(_progress(end=end), quiet_s, covered="brain") == evidence


def test_a_sender_that_hung_for_long_gets_its_time_from_the_abort_on() -> None:
    assert _evidence(_progress(end="lost"), 100, ended_s=5) is None


@pytest.mark.parametrize("comparison", [Comparison.UNKNOWN, Comparison.MORE])
def test_a_running_association_means_not_complete(comparison: Comparison) -> None:
    assert _evidence(_progress(running=1), 10_000, comparison, covered="brain") is None


def test_a_pacs_with_more_is_waited_for_but_not_for_ever() -> None:
    assert _evidence(_progress(), 30, Comparison.MORE, covered="brain") is None
    assert _evidence(_progress(), 60, Comparison.MORE) == MORE_EVIDENCE


def test_slices_without_gaps_shorten_the_wait_after_a_release() -> None:
    assert _evidence(_progress(), 2.9, covered="brain") is None
    assert _evidence(_progress(), 3, covered="brain") == "slices_without_gaps (for brain)"
    assert _evidence(_progress(), 3, covered=None) is None


@pytest.mark.parametrize(
    ("lists", "note"),
    [
        (ListEvidence((ListSource.AVAILABILITY,), missing=3), "3 listed instances have not come"),
        (
            ListEvidence((ListSource.PERFORMED_STEP,), open_steps=1),
            "a performed procedure step has not ended",
        ),
    ],
)
def test_announced_instances_are_waited_for_but_not_for_ever(
    lists: ListEvidence, note: str
) -> None:
    progress = _progress(lists=lists)

    assert _evidence(progress, 599, Comparison.EQUAL, covered="brain") is None
    assert _evidence(progress, 600) == f"quiet_time ({note})"
    assert _evidence(progress, 600, Comparison.EQUAL) == f"pacs_counts ({note})"
    assert _evidence(replace(progress, running_associations=1), 600) is None


def test_listed_instances_in_quarantine_are_told_and_not_waited_for() -> None:
    lists = ListEvidence((ListSource.AVAILABILITY,), quarantined=2)

    assert _evidence(_progress(lists=lists), 9) is None
    assert _evidence(_progress(lists=lists), 10) == (
        "quiet_time (2 listed instances are in quarantine)"
    )


def test_a_list_of_one_series_does_not_prove_the_others() -> None:
    lists = ListEvidence((ListSource.STORAGE_COMMITMENT,), unlisted={"1.2.2": 4})

    assert _evidence(_progress(lists=lists), 9) is None
    assert _evidence(_progress(lists=lists), 10) == "quiet_time"


def test_while_a_study_is_sent_again_presence_proves_nothing() -> None:
    for lists in (NO_LISTS, PROVED):
        progress = _progress(lists=lists, is_resent=True)
        assert _evidence(progress, 5, Comparison.EQUAL, covered="brain") is None
        assert _evidence(progress, 10, Comparison.EQUAL) == "quiet_time"
        running = replace(progress, running_associations=1)
        assert _evidence(running, 100, Comparison.EQUAL) is None


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


def test_a_series_that_a_list_has_proved_needs_no_count() -> None:
    counts = _counts(None, a=("MR", None), b=("MR", 3))

    assert compare(counts, {"a": 5, "b": 3}) is Comparison.UNKNOWN
    assert compare(counts, {"a": 5, "b": 3}, proven={"a"}) is Comparison.EQUAL
    assert compare(counts, {"a": 5, "b": 2}, proven={"a"}) is Comparison.MORE


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
