"""Study Date and Time as FHIR `dateTime`s: DICOM leaves the zone out, FHIR insists on one."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from storage.dicom_records import StudyHeader

_DATE: Final = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})", re.ASCII)
_TIME: Final = re.compile(r"(\d{2}):?(\d{2}):?(?:(\d{2})(?:[.]\d{1,6})?)?", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(\d{2})(\d{2})", re.ASCII)


def fhir_study_time(study: StudyHeader, site_timezone: str) -> datetime | date | None:
    """When the study was made: aware date and time, or the date alone, or None.

    The zone is Timezone Offset From UTC (0008,0201) where the study has one, else the site's.
    A time without minutes, or without a usable zone, leaves the date alone: FHIR would read more
    into it than was sent.
    """
    day = day_of(study.study_date)
    clock = _clock(study.study_time)
    if day is None or clock is None:
        return day
    zone = _fixed_zone(study.timezone_offset) or ZoneInfo(site_timezone)
    moment = datetime.combine(day, clock, tzinfo=zone)
    return moment if _offset_has_whole_minutes(moment) else day


def issued_at(finished_at: datetime) -> datetime:
    """A FHIR `instant` in UTC, to the second."""
    return finished_at.astimezone(UTC).replace(microsecond=0)


def day_of(value: str) -> date | None:
    """A DA, of today's form or that of ACR-NEMA; None for what is no day."""
    match = _DATE.fullmatch(value.strip())
    if match is None:
        return None
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def _clock(value: str) -> time | None:
    match = _TIME.fullmatch(value.strip())
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return time(hour, minute, second)
    except ValueError:
        return None


def _fixed_zone(offset: str) -> tzinfo | None:
    match = _OFFSET.fullmatch(offset.strip())
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    shift = timedelta(hours=int(hours), minutes=int(minutes))
    # PS3.3 C.12.1.1.8: from -1200 to +1400.
    if int(minutes) > 59 or shift > timedelta(hours=14):
        return None
    return timezone(-shift if sign == "-" else shift)


def _offset_has_whole_minutes(moment: datetime) -> bool:
    """Local mean times before 1900 have seconds in their offset, which FHIR cannot write."""
    offset = moment.utcoffset()
    return offset is not None and not offset % timedelta(minutes=1)


def same_second(one: str, other: str) -> bool:
    """Whether two FHIR instants are of one second, however a server writes the zone."""
    try:
        pair = [datetime.fromisoformat(each).astimezone(UTC) for each in (one, other)]
    except ValueError:
        return one == other
    return pair[0].replace(microsecond=0) == pair[1].replace(microsecond=0)
