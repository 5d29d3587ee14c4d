"""Codes proposed for the labels of models."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from pipelines.label_codes import LEFT, RIGHT, known_codes, proposed_code


def test_every_code_stands_in_the_context_groups_of_dicom_with_its_meaning() -> None:
    meanings: dict[str, set[str]] = {}
    snomed: Any = concepts["SCT"]
    for entries in snomed.values():
        for value, (meaning, _) in entries.items():
            meanings.setdefault(value, set()).add(meaning)
    wrong = [code for code in known_codes() if code.meaning not in meanings.get(code.value, ())]
    assert wrong == []


@pytest.mark.parametrize(
    ("label", "value", "side"),
    [
        ("spleen", "78961009", None),
        ("kidney_left", "64033007", LEFT),
        ("Right Kidney", "64033007", RIGHT),
        ("lung_upper_lobe_left", "45653009", LEFT),
        ("lung_middle_lobe_right", "72481006", None),
        ("heart_atrium_left", "82471001", None),
        ("vertebrae_T12", "23215003", None),
        ("rib_left_7", "113197003", LEFT),
        ("Tumor core", "108369006", None),
    ],
)
def test_labels_are_known_by_their_words(label: str, value: str, side: object) -> None:
    code = proposed_code(label)
    assert code is not None
    assert (code.type.value, code.side) == (value, side)


@pytest.mark.parametrize("label", ["gluteus_maximus_left", "class 7", "", "left right kidney"])
def test_a_label_that_is_not_sure_gets_no_code(label: str) -> None:
    assert proposed_code(label) is None
