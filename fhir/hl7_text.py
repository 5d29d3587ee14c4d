r"""Texts, components and segments of HL7 v2.5.1 in its vertical-bar encoding (chapter 2).

The delimiters are the recommended ones, `|^~\&`; every text from outside is escaped (2.7), so
that no header can add a field or a segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from textwrap import wrap
from typing import Final

from fhir.clean_text import clean

FIELD: Final = "|"
COMPONENT: Final = "^"
REPETITION: Final = "~"
ENCODING_CHARACTERS: Final = "^~\\&"
TERMINATOR: Final = "\r"
LONGEST_LINE: Final = 199
"""A TX may be longer (2A.3.78), but receivers and libraries cut or refuse it from here on."""

_LONGEST_ESCAPE: Final = 3

_ESCAPES: Final = str.maketrans(
    {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"}
)


def text(value: str, longest: int | None = None) -> str:
    """A text as one component: on one line, cut to `longest` characters, delimiters escaped."""
    return " ".join((clean(value) or "").split())[:longest].translate(_ESCAPES)


def lines(value: str) -> Iterator[str]:
    """A text as lines of `LONGEST_LINE` at the most, broken at spaces, delimiters escaped."""
    for line in wrap(clean(value) or "", LONGEST_LINE, break_on_hyphens=False):
        if len(text(line)) <= LONGEST_LINE:
            yield text(line)
        else:
            yield from map(text, wrap(line, LONGEST_LINE // _LONGEST_ESCAPE))


def components(*parts: str) -> str:
    """Parts, each escaped already, as one field; empty ones at the end are left out."""
    return COMPONENT.join(parts).rstrip(COMPONENT)


def segment(name: str, fields: Mapping[int, str]) -> str:
    """A segment with its fields by their number in the standard (MSH-1 is the separator)."""
    first = 2 if name == "MSH" else 1
    values = [fields.get(number, "") for number in range(first, max(fields) + 1)]
    return FIELD.join([name, *values]).rstrip(FIELD)


def timestamp(moment: datetime | date | None) -> str:
    """A TS: to the second with its offset, a date alone, or nothing."""
    if moment is None:
        return ""
    # `%Y` has fewer than four digits before the year 1000, in which some systems put "no date".
    clock = moment.strftime("%H%M%S%z") if isinstance(moment, datetime) else ""
    return f"{moment.year:04}{moment.month:02}{moment.day:02}{clock}"
