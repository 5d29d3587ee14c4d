from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipelines.objects.identity import Origin
from pipelines.objects.result_header import long_string, series_description, time_zone
from tests.unit.pipelines_objects.result_requests import ORIGIN

BERLIN = ZoneInfo("Europe/Berlin")
JULY = datetime(2024, 7, 1, 15, 4, 5, tzinfo=BERLIN)


def header(date: str, time: str = "093000", offset: str | None = None) -> Dataset:
    study = Dataset()
    study.StudyDate, study.StudyTime = date, time
    if offset is not None:
        study.TimezoneOffsetFromUTC = offset
    return study


def hours(study: Dataset, content_time: datetime = JULY) -> float:
    return time_zone(study, content_time).utcoffset(None) / timedelta(hours=1)


def test_the_offset_of_the_source_is_kept() -> None:
    assert hours(header("20240115", offset="-0530")) == -5.5


def test_a_winter_study_keeps_its_winter_offset_when_analysed_in_summer() -> None:
    assert hours(header("20240115")) == 1
    assert hours(header("20240615")) == 2


def test_an_offset_of_zero_is_an_offset() -> None:
    summer = datetime(2024, 7, 1, 15, tzinfo=ZoneInfo("Europe/London"))
    assert hours(header("20240115"), summer) == 0


@pytest.mark.parametrize("date", ["", "tomorrow", "20240230"])
def test_without_a_study_date_the_offset_of_the_analysis_counts(date: str) -> None:
    assert hours(header(date)) == 2


def test_an_unreadable_offset_is_no_offset() -> None:
    assert hours(header("20240115", offset="CET")) == 1


def test_a_date_before_time_zones_gives_whole_minutes() -> None:
    offset = time_zone(header("18500115"), JULY).utcoffset(None)
    assert offset % timedelta(minutes=1) == timedelta(0)


@given(
    study=st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]),
)
def test_the_study_time_means_the_same_instant_in_the_result(study: datetime, zone: str) -> None:
    site = ZoneInfo(zone)
    offset = time_zone(
        header(study.strftime("%Y%m%d"), study.strftime("%H%M%S")), JULY.astimezone(site)
    )
    seconds = study.replace(microsecond=0)
    assert seconds.replace(tzinfo=offset).astimezone(UTC) == seconds.replace(
        tzinfo=site
    ).astimezone(UTC)


def test_every_series_description_starts_with_ai() -> None:
    assert series_description("hippocampus") == "AI hippocampus"
    assert series_description("AI hippocampus") == "AI hippocampus"
    assert len(series_description("x" * 100)) == 64


def test_long_strings_hold_no_backslash_and_64_characters() -> None:
    assert long_string("a\\b") == "a/b"
    assert len(long_string("y" * 65)) == 64


def test_a_content_time_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Origin(ORIGIN.algorithm, ORIGIN.station, datetime(2024, 7, 1))
