"""Tests of one header attribute, as a pipeline definition lists them under `where`.

An attribute is looked up at the top of the header and, for enhanced multi-frame images, in
the shared and then the first frame's functional groups (PS3.3 C.7.6.16). A missing attribute
makes a test false with a reason; it never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator
from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from config.setting_types import Frozen

# pydicom would quote values, possibly a name, in warnings; what is used is checked where it is.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE

NUMERIC_VRS = frozenset({"DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
PATIENT_GROUP = 0x0010
CODE_STRING = re.compile(r"[A-Z0-9_ ]{0,16}")


def _known_keyword(value: object) -> object:
    if not isinstance(value, str) or tag_for_keyword(value) is None:
        raise ValueError("write a DICOM keyword such as SliceThickness")
    return value


def _compiled(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write a regular expression in quotes")
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error


Keyword = Annotated[str, BeforeValidator(_known_keyword)]
Pattern = Annotated[re.Pattern[str], BeforeValidator(_compiled)]
Plain = str | int | float
Range = tuple[float, float]


class Criterion(Frozen):
    """One test of one attribute; exactly one of the tests is given.

    `equals` and `one_of` compare numbers as numbers and the rest as text; `matches` searches;
    `between` includes its limits and asks every value of the attribute; `contains` and
    `not_contains` ask a multi-valued attribute such as ImageType.
    """

    tag: Keyword
    equals: Plain | None = None
    one_of: tuple[Plain, ...] | None = None
    matches: Pattern | None = None
    between: Range | None = None
    contains: Plain | None = None
    not_contains: Plain | None = None
    present: bool | None = None

    @model_validator(mode="after")
    def _exactly_one_test(self) -> Self:
        given = self.model_fields_set - {"tag"}
        if len(given) != 1:
            tests = ", ".join(sorted(set(type(self).model_fields) - {"tag"}))
            raise ValueError(f"{self.tag}: give exactly one of {tests}")
        if self.between and not self.between[0] <= self.between[1]:
            raise ValueError(f"{self.tag}: the lower limit comes first")
        return self

    def failure(self, header: Dataset) -> str | None:
        """Why `header` fails this test, fit for a log; None when it passes."""
        values = attribute_values(header, self.tag)
        if self.present is not None:
            return None if bool(values) == self.present else self._presence_failure()
        if self.not_contains is not None:
            found = any(_same(value, self.not_contains) for value in values)
            return f"{self.tag} contains {self.not_contains}" if found else None
        if not values:
            return f"{self.tag} is missing"
        return None if self._passes(values) else self._told(values)

    def _presence_failure(self) -> str:
        return f"{self.tag} is {'missing' if self.present else 'present'}"

    def _passes(self, values: tuple[Any, ...]) -> bool:
        if self.between is not None:
            low, high = self.between
            return all(isinstance(v, int | float) and low <= v <= high for v in values)
        if self.contains is not None:
            return any(_same(value, self.contains) for value in values)
        if self.matches is not None:
            return self.matches.search("\\".join(map(str, values))) is not None
        allowed = self.one_of if self.one_of is not None else (self.equals,)
        return len(values) == 1 and any(_same(values[0], item) for item in allowed)

    def _told(self, values: tuple[Any, ...]) -> str:
        found = shown(self.tag, values)
        return f"{self.tag}{' ' + found if found else ''} {self._limit()}"

    def _limit(self) -> str:
        if self.between is not None:
            return f"is not within {self.between[0]:g} to {self.between[1]:g}"
        if self.contains is not None:
            return f"does not contain {self.contains}"
        if self.matches is not None:
            return "does not match"
        if self.one_of is not None:
            return f"is not one of {', '.join(map(str, self.one_of))}"
        return f"is not {self.equals}"


def attribute_values(header: Dataset, keyword: str) -> tuple[Any, ...]:
    """The attribute's values, numbers as int or float and the rest as text.

    () when the attribute is missing, empty, or breaks its value representation.
    """
    for place in _places(header):
        try:
            value = place.get(keyword)
        except (ValueError, TypeError, OverflowError):
            return ()  # pydicom converts on access; a broken value is as good as none
        if value is not None and value != "":
            items = value if isinstance(value, MultiValue | list | tuple) else (value,)
            return tuple(_plain(item) for item in items)
    return ()


def _places(header: Dataset) -> Iterator[Dataset]:
    yield header
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(header.get(name) or [])[:1]:
            for element in group:
                if element.VR == "SQ" and element.value:
                    yield element.value[0]


def _plain(value: Any) -> Any:
    if not isinstance(value, int | float):
        return str(value)
    number = float(value)
    return int(number) if number.is_integer() else number


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return float(value) == float(wanted)
    return str(value).strip() == str(wanted).strip()


def shown(keyword: str, values: tuple[Any, ...]) -> str:
    """The values where they cannot identify a patient: numbers and code strings; else ''.

    Free text (SeriesDescription, ProtocolName) can hold a name, so it is never shown.
    """
    tag = tag_for_keyword(keyword)
    if tag is None or tag >> 16 == PATIENT_GROUP:
        return ""
    vr = dictionary_VR(tag)
    if vr in NUMERIC_VRS and all(isinstance(value, int | float) for value in values):
        return ", ".join(f"{value:g}" for value in values)
    if vr == "CS" and all(CODE_STRING.fullmatch(str(value)) for value in values):
        return ", ".join(map(str, values))
    return ""
