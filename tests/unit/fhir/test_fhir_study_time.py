from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest
from fhir.resources.R4B.observation import Observation
from hypothesis import given
from hypothesis import strategies as st

from fhir.study_time import fhir_study_time
from storage.dicom_records import StudyHeader

FHIR_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2}))?", re.ASCII)


def study(study_date: str, study_time: str = "", offset: str = "") -> StudyHeader:
    return StudyHeader(
        "1.2.3", study_date=study_date, study_time=study_time, timezone_offset=offset
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (study("20250304", "101530", "+0100"), "2025-03-04T10:15:30+01:00"),
        (study("20250304", "101530.123456", "-0330"), "2025-03-04T10:15:30-03:30"),
        (study("20250304", "1015"), "2025-03-04T10:15:00+01:00"),
        (study("20250704", "101530"), "2025-07-04T10:15:30+02:00"),
        (study("2025.03.04", "10:15:30"), "2025-03-04T10:15:30+01:00"),
        (study("20250304 ", "101530 ", "+9900"), "2025-03-04T10:15:30+01:00"),
        (study("20250304", ""), "2025-03-04"),
        (study("20250304", "10"), "2025-03-04"),
        (study("20250304", "250000"), "2025-03-04"),
        (study("18800304", "101530"), "1880-03-04"),
    ],
)
def test_study_time_has_the_zone_of_the_study_or_else_of_the_site(
    header: StudyHeader, expected: str
) -> None:
    moment = fhir_study_time(header, "Europe/Berlin")
    assert moment is not None
    assert moment.isoformat() == expected


@pytest.mark.parametrize("text", ["", "20251304", "2025", "yesterday", "٢٠٢٥٠٣٠٤"])
def test_a_study_without_a_usable_date_has_no_time(text: str) -> None:
    assert fhir_study_time(study(text, "101530"), "UTC") is None


def test_the_same_wall_clock_is_another_instant_elsewhere() -> None:
    header = study("20250304", "101530")
    here, there = (fhir_study_time(header, zone) for zone in ("Europe/Berlin", "Asia/Tokyo"))
    assert isinstance(here, datetime)
    assert isinstance(there, datetime)
    assert here.astimezone(UTC) != there.astimezone(UTC)


@given(
    st.dates().map(lambda day: day.strftime("%Y%m%d").zfill(8)) | st.text(max_size=12),
    st.times().map(lambda clock: clock.strftime("%H%M%S.%f")) | st.text(max_size=12),
    st.from_regex(r"[+-][0-9]{4}", fullmatch=True) | st.text(max_size=6),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]),
)
def test_whatever_stands_in_the_header_r4_can_say_the_result(
    study_date: str, study_time: str, offset: str, zone: str
) -> None:
    moment = fhir_study_time(study(study_date, study_time, offset), zone)
    assert moment is None or isinstance(moment, date)
    if moment is not None:
        observation = Observation.model_validate(
            {"status": "preliminary", "code": {"text": "x"}, "effectiveDateTime": moment}
        )
        text = str(observation.model_dump_json())
        written = re.search(r'"effectiveDateTime":"([^"]+)"', text)
        assert written is not None
        assert FHIR_DATE_TIME.fullmatch(written[1])
