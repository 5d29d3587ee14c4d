from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.person_name import family_names_of_dicom, family_names_of_fhir


def is_same_family(dicom_name: str, *names: dict[str, str]) -> bool:
    ours = family_names_of_dicom(dicom_name)
    return not ours.isdisjoint(family_names_of_fhir({"name": list(names)}))


@pytest.mark.parametrize(
    ("dicom_name", "family"),
    [
        ("MÜLLER^ANNA", "Müller"),
        ("MUELLER^ANNA", "Müller"),
        ("MULLER^ANNA", "Müller"),
        ("Groß^Jan", "GROSS"),
        ("SORENSEN^LARS", "Sørensen"),
        ("SOERENSEN^LARS", "Sørensen"),
        ("MEIER-SCHMIDT^EVA", "Meier Schmidt"),
        ("O'BRIEN^PAT", "O’Brien"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍"),
        ("NUÑEZ^JOSE", "Nunez"),
        ("Wałęsa^Lech", "WALESA"),
    ],
)
def test_the_same_family_name_is_recognised_in_another_spelling(
    dicom_name: str, family: str
) -> None:
    assert is_same_family(dicom_name, {"family": family})


@pytest.mark.parametrize(
    ("dicom_name", "family"),
    [("MEIER^ANNA", "Maier"), ("MEIER^ANNA", "Anna"), ("MEIER^ANNA", "Meier-Schmidt")],
)
def test_another_family_name_is_not_taken_for_the_same(dicom_name: str, family: str) -> None:
    assert not is_same_family(dicom_name, {"family": family})


def test_a_former_name_counts() -> None:
    names = [{"use": "official", "family": "Neu"}, {"use": "maiden", "family": "Alt"}]
    assert is_same_family("ALT^EVA", *names)


def test_a_name_that_has_only_text_is_searched_word_by_word() -> None:
    assert is_same_family("DOE^JOHN", {"text": "Doe, John"})
    assert is_same_family("DOE^JOHN", {"text": "John Doe"})


@pytest.mark.parametrize("name", ["", "^ANNA", "=", "^^^", " - "])
def test_a_name_without_letters_has_no_family_name(name: str) -> None:
    assert family_names_of_dicom(name) == frozenset()


@pytest.mark.parametrize("name", [None, "Doe", [1], [{"family": 3}], [{"text": None}]])
def test_a_faulty_patient_has_no_family_name(name: object) -> None:
    assert family_names_of_fhir({"name": name}) == frozenset()


letters = st.text(st.characters(categories=["L"]), min_size=1, max_size=20)


@given(letters)
def test_unicode_spelling_does_not_matter(family: str) -> None:
    for form in ("NFC", "NFD"):
        spelt = unicodedata.normalize(form, family)
        if "=" not in spelt and "^" not in spelt:
            assert is_same_family(f"{spelt}^X", {"family": family})
