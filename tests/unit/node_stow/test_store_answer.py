from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import TransientDelivery
from node.stow.answer import StoreAnswer, read_answer
from node.stow.verdict import verdict_of

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["00081198", "00081199", "00081155", "00081197", "Value", "vr"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"[1, 2]",
        b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": [{}]}}]}}',
        b'{"00081199": {"vr": "SQ"}}',
        b'{"00081199": 7}',
        b"\xff\xfe[",
        b"[" * 100_000,
        b"<a><b></a>",
        b"<a/>",
        b"<a>" * 100_000,
        b'<!DOCTYPE a [<!ENTITY e "x">]><NativeDicomModel>&e;</NativeDicomModel>',
    ],
    ids=lambda content: content[:12].hex() or "empty",
)
def test_what_cannot_be_read_names_nothing(content: bytes) -> None:
    assert read_answer(content) == StoreAnswer()


@given(JSON_VALUES)
def test_any_json_is_read_without_harm(value: object) -> None:
    answer = read_answer(json.dumps(value).encode())
    assert not answer.stored.keys() & answer.failed.keys()


def test_numbers_as_text_and_a_wrapping_array_are_understood() -> None:
    item = {"00081155": {"vr": "UI", "Value": ["2.25.1"]}, "00081197": {"Value": ["272"]}}
    content = json.dumps([{"00081198": {"vr": "SQ", "Value": [item]}}]).encode()
    assert read_answer(content).failed == {"2.25.1": 0x0110}


def test_a_failure_without_a_reason_is_one_that_may_pass() -> None:
    content = b'{"00081198": {"Value": [{"00081155": {"Value": ["2.25.1"]}}]}}'
    verdict = verdict_of("PACS", 409, read_answer(content), {"2.25.1": SEG})
    assert isinstance(verdict.failure, TransientDelivery)


def test_who_is_named_as_stored_and_as_failed_is_not_stored() -> None:
    item = '{"00081155": {"Value": ["2.25.1"]}}'
    content = f'{{"00081198": {{"Value": [{item}]}}, "00081199": {{"Value": [{item}]}}}}'
    answer = read_answer(content.encode())
    assert (dict(answer.stored), set(answer.failed)) == ({}, {"2.25.1"})


def test_another_form_comes_before_another_time_and_a_person_last() -> None:
    posted = {f"2.25.{number}": SEG for number in (1, 2, 3)}
    answer = StoreAnswer({}, {"2.25.1": 0x0124, "2.25.2": 0xA700, "2.25.3": 0xA900})
    verdict = verdict_of("PACS", 202, answer, posted)
    assert verdict.failure is not None
    assert verdict.failure.code == "status_a900"
