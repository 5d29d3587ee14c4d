r"""Texts, components and segments of HL7 v2.5.1 in its vertical-bar encoding (chapter 2).

The delimiters are the recommended ones, `|^~\&`; every text from outside is escaped (2.7), so
that no header can add a field or a segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

from fhir.clean_text import clean

FIELD: Final = "|"
COMPONENT: Final = "^"
REPETITION: Final = "~"
ENCODING_CHARACTERS: Final = "^~\\&"
TERMINATOR: Final = "\r"

_ESCAPES: Final = str.maketrans(
    {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"}
)


def text(value: str, longest: int | None = None) -> str:
    """A text as one component: on one line, cut to `longest` characters, delimiters escaped."""
    return " ".join((clean(value) or "").split())[:longest].translate(_ESCAPES)


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
    if isinstance(moment, datetime):
        return moment.strftime("%Y%m%d%H%M%S%z")
    return moment.strftime("%Y%m%d") if moment else ""
