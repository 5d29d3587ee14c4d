"""What an association remembers of several series: those of a study may come mixed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.receive.dimse_status import StoreFailure
from node.receive.header_memory import HeaderMemory
from tests.unit.node_receive.like_slices import (
    BIG,
    LITTLE,
    POSITION,
    SERIES,
    SLICE,
    assert_taken_as_without,
    content_of,
    is_recalled,
    outcome,
    outcome_of_whole,
    slice_with,
)


def of(series: int, number: int = 1) -> bytes:
    # Another length now and then, so that layouts differ, too.
    uid = b"1.2.3.%d" % (40 + series) + b".1" * (series % 3)
    return slice_with(
        series=uid + b"\0" * (len(uid) % 2), sop_instance=b"1.2.%d.%04d" % (series, number)
    )


@given(order=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 9)), max_size=40))
def test_series_in_any_order_are_taken_as_without_a_memory(order: list[tuple[int, int]]) -> None:
    assert_taken_as_without(HeaderMemory(), [of(*one) for one in order], LITTLE)


@given(order=st.permutations([(series, number) for series in range(8) for number in range(4)]))
def test_of_each_of_eight_mixed_series_only_the_first_slice_is_new(
    order: list[tuple[int, int]],
) -> None:
    memory, met = HeaderMemory(), set[int]()
    for series, number in order:
        assert is_recalled(memory, of(series, number)) == (series in met)
        outcome(of(series, number), LITTLE, memory)
        met.add(series)


def test_the_series_that_was_not_met_for_longest_is_forgotten() -> None:
    memory = HeaderMemory()
    for series in (*range(8), 0, 1, 8):
        outcome(of(series), LITTLE, memory)

    assert [series for series in range(9) if not is_recalled(memory, of(series))] == [2]


def test_study_and_series_stay_the_same_objects_while_others_come_between() -> None:
    memory = HeaderMemory()
    first, second = (outcome_of_whole(of(series), memory)[0] for series in (1, 2))
    for number in range(2, 6):
        for series, header in ((1, first), (2, second)):
            found, _ = outcome_of_whole(of(series, number), memory)
            assert (found.study, found.series) == (header.study, header.series)
            assert found.series is header.series
        assert memory.known is not None
        assert memory.known.header.series is second.series


def test_of_a_series_whose_header_changes_only_the_new_one_is_remembered() -> None:
    memory = HeaderMemory()
    changed = slice_with(image_type=b"DERIVED\\SECONDARY", patient_name=b"D\xf6e^Jill")
    for content in (slice_with(), of(1), changed):
        outcome(content, LITTLE, memory)

    assert is_recalled(memory, changed)
    assert is_recalled(memory, of(1))
    assert not is_recalled(memory, slice_with())


@pytest.mark.parametrize(("syntax", "other"), [(LITTLE, BIG), (BIG, LITTLE)])
def test_what_is_known_in_one_transfer_syntax_is_not_in_another(syntax: str, other: str) -> None:
    memory, content = HeaderMemory(), content_of(list(SLICE), syntax)
    outcome(content, syntax, memory)

    assert is_recalled(memory, content, syntax)
    assert not is_recalled(memory, content, other)
    assert_taken_as_without(memory, [content_of(list(SLICE), other)] * 3, other)


@pytest.mark.parametrize(("syntax", "other"), [(LITTLE, BIG), (BIG, LITTLE)])
def test_what_lies_behind_the_header_is_not_known_by_another_byte_order(
    syntax: str, other: str
) -> None:
    at = [field.tag for field in SLICE].index(POSITION)
    of_another = [
        replace(each, value=b"1.2.3.5\0") if each.tag == SERIES else each for each in SLICE
    ]
    first, second = content_of(list(SLICE), syntax), content_of(of_another, other)
    mixed = content_of(list(SLICE[:at]), syntax) + content_of(list(SLICE[at:]), other)
    memory = HeaderMemory()
    for content, each in ((first, syntax), (second, other), (second, other)):
        outcome(content, each, memory)

    assert outcome(mixed, syntax, None) == StoreFailure.TRUNCATED
    assert_taken_as_without(memory, [mixed, first, mixed], syntax)
