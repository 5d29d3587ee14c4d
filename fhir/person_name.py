"""Comparing family names of DICOM and FHIR, across spelling, accents and transliteration."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from fhir.json_reading import Json, objects, string

_PLAIN: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
_SPELT_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})


def family_names_of_dicom(patient_name: str) -> frozenset[str]:
    """Comparable forms of the family names in a PN: alphabetic, ideographic, phonetic group."""
    families = (group.split("^")[0] for group in patient_name.split("="))
    return _all_forms(families)


def family_names_of_fhir(patient: Json) -> frozenset[str]:
    """Comparable forms of every family name of a Patient, former names included.

    Of a name that has only `text`, each word counts, since either may be the family name.
    """
    families: list[str] = []
    for name in objects(patient.get("name")):
        family = string(name, "family")
        families.extend([family] if family else string(name, "text").replace(",", " ").split())
    return _all_forms(families)


def _all_forms(names: Iterable[str]) -> frozenset[str]:
    return frozenset(form for name in names for form in _forms(name))


def _forms(name: str) -> set[str]:
    """The name without accents, and with umlauts spelt out (MUELLER is Müller)."""
    folded = unicodedata.normalize("NFC", name.casefold())
    return {_letters(folded.translate(_SPELT_OUT)), _letters(folded)} - {""}


def _letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(character for character in decomposed if character.isalnum())
