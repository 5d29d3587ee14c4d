from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from node.receive.dimse_status import StoreFailure
from node.receive.header_memory import HeaderMemory
from tests.unit.node_receive.like_slices import (
    BIG,
    DEFLATED,
    IMPLICIT,
    LITTLE,
    NUMBER,
    PATIENT_NAME,
    POSITION,
    SLICE,
    SOP_INSTANCE,
    Field,
    arrivals,
    assert_taken_as_without,
    content_of,
    is_recalled,
    learned,
    mutated,
    outcome,
    outcome_of_whole,
    slice_with,
)


@given(instances=st.lists(arrivals(), min_size=2, max_size=8))
def test_any_instances_are_taken_with_a_memory_as_without_one(
    instances: list[tuple[bytes, str, list[int]]],
) -> None:
    memory = HeaderMemory()

    for content, syntax, cuts in instances:
        fresh = outcome(content, syntax, None, cuts)
        event(f"recalled: {is_recalled(memory, content, syntax)}")
        assert outcome(content, syntax, memory, cuts) == fresh


@given(instance=arrivals(), first=st.lists(mutated(), max_size=3))
def test_an_instance_is_known_or_not_but_never_taken_for_another(
    instance: tuple[bytes, str, list[int]], first: list[list[Field]]
) -> None:
    content, syntax, cuts = instance
    base = content_of(list(SLICE), syntax)
    memory = HeaderMemory()
    for before in [base, base, *(content_of(fields, syntax) for fields in first)]:
        outcome(before, syntax, memory)

    assert outcome(content, syntax, memory, cuts) == outcome(content, syntax, None, cuts)


@pytest.mark.parametrize("syntax", [LITTLE, BIG])
def test_the_second_of_like_slices_is_known_by_the_first(syntax: str) -> None:
    memory, content = HeaderMemory(), content_of(list(SLICE), syntax)
    known = []
    for _ in range(3):
        known.append(is_recalled(memory, content, syntax))
        outcome(content, syntax, memory)

    assert known == [False, True, True]


@pytest.mark.parametrize("syntax", [IMPLICIT, DEFLATED])
def test_only_data_sets_with_explicit_vr_are_known_again(syntax: str) -> None:
    memory, content = HeaderMemory(), content_of(list(SLICE), syntax)
    for _ in range(4):
        outcome(content, syntax, memory)

    assert not is_recalled(memory, content, syntax)


def test_a_slice_is_known_whatever_its_own_values_and_their_lengths() -> None:
    memory = learned()
    content = slice_with(
        sop_instance=b"1.2.3.4.99999\0", number=b"1234567890", content_time=b"101501"
    )

    assert is_recalled(memory, content)
    header, _ = outcome_of_whole(content, memory)
    assert header.sop_instance_uid == "1.2.3.4.99999"
    assert header.instance_number == 1234567890


def test_study_and_series_of_like_slices_are_the_same_objects() -> None:
    memory, fresh = HeaderMemory(), outcome_of_whole(slice_with(), HeaderMemory())[0]
    for _ in range(4):
        header, _ = outcome_of_whole(slice_with(), memory)
        assert header.study is fresh.study
        assert header.series is fresh.series


@pytest.mark.parametrize(
    "changed",
    [
        {"patient_name": b"Doe^Jill"},
        {"series": b"1.2.3.5\0"},
        {"sop_class": b"1.2.840.10008.5.1.4.1.1.2\0"},
        {"sop_instance": b"1.2.3.04.x"},
        {"sop_instance": b""},
    ],
)
def test_a_slice_of_another_identity_or_of_none_is_not_known(changed: dict[str, bytes]) -> None:
    assert not is_recalled(learned(), slice_with(**changed))


@pytest.mark.parametrize("syntax", [LITTLE, BIG])
@pytest.mark.parametrize(
    "extra",
    [
        Field(SOP_INSTANCE, b"UN", b"1.2.9\0"),
        Field(SOP_INSTANCE, b"UI", b"1.2.9\0"),
        Field(NUMBER, b"IS", b"77"),
        Field(PATIENT_NAME, b"ZZ", b"Doe^Jill"),
        Field(0x00180015, b"CS", b"HEAD"),
        Field(0x00000010, b"UL", b"\0\0\0\0"),
        Field(0x00081140, b"SQ", b""),
    ],
)
def test_what_comes_twice_or_in_no_order_is_taken_as_without_a_memory(
    extra: Field, syntax: str
) -> None:
    plain = content_of(list(SLICE), syntax)
    for place in range(len(SLICE)):
        odd = content_of([*SLICE[:place], extra, *SLICE[place:]], syntax)
        own = odd.replace(b"1.2.3.4.1\0", b"1.2.3.4.2\0").replace(b"1.2.9", b"1.2.8")
        for contents in ([odd, odd, odd, own, plain], [odd, odd, plain], [plain] * 4 + [odd, own]):
            assert_taken_as_without(HeaderMemory(), contents, syntax)


@pytest.mark.parametrize("syntax", [LITTLE, BIG])
@pytest.mark.parametrize("flipped", [0x01, 0x03, 0x20, 0xFF])
def test_no_byte_of_a_header_differs_unseen(syntax: str, flipped: int) -> None:
    plain = content_of(list(SLICE), syntax)
    for at in range(len(plain) - 240):
        other = bytearray(plain)
        other[at] ^= flipped
        for contents in ([plain] * 3 + [bytes(other)], [bytes(other)] * 3 + [plain]):
            assert_taken_as_without(HeaderMemory(), contents, syntax)


@pytest.mark.parametrize("syntax", [LITTLE, BIG])
def test_a_data_set_cut_anywhere_is_taken_as_without_a_memory(syntax: str) -> None:
    plain = content_of(list(SLICE), syntax)
    for length in range(len(plain)):
        assert_taken_as_without(HeaderMemory(), [plain[:length]] * 4 + [plain] * 2, syntax)
        assert_taken_as_without(HeaderMemory(), [plain] * 4 + [plain[:length]], syntax)


def test_a_last_value_that_is_cut_is_not_whole_though_it_may_be_of_any_length() -> None:
    begin = list(SLICE[:-3])
    memory = HeaderMemory()
    for length in (2, 4, 2, 6, 2, 8, 2, 10, 2, 8):
        content = content_of([*begin, Field(POSITION, b"DS", b"1" * length)], LITTLE)
        outcome(content, LITTLE, memory)

    assert outcome(content[:-3], LITTLE, memory) is StoreFailure.TRUNCATED
    far = content_of([*begin, Field(POSITION, b"DS", b"1" * 9000), *SLICE[-3:]], LITTLE)
    assert_taken_as_without(memory, [far, far[:-270]], LITTLE)


@pytest.mark.parametrize("tag", [SOP_INSTANCE, NUMBER])
def test_an_own_value_with_a_long_length_is_taken_as_without_a_memory(tag: int) -> None:
    odd = [replace(field, vr=b"UN") if field.tag == tag else field for field in SLICE]

    assert_taken_as_without(HeaderMemory(), [content_of(odd, LITTLE)] * 4, LITTLE)


@pytest.mark.parametrize("syntax", [BIG, IMPLICIT, DEFLATED, LITTLE])
def test_what_is_known_is_known_of_its_transfer_syntax_alone(syntax: str) -> None:
    assert_taken_as_without(learned(), [slice_with()] * 4, syntax)


def test_implicit_vr_that_reads_like_explicit_vr_is_not_known_by_that() -> None:
    """The first element is empty, or has a value of 0x5343 bytes: its length is "CS" and zeros."""
    decoy = Field(0x00080001, b"CS", b"").encoded(LITTLE) + slice_with()
    memory, plain = HeaderMemory(), content_of(list(SLICE), IMPLICIT)
    contents = [
        decoy.ljust(8 + 0x5343, b"\1") + plain.replace(b"1.2.3.4.1\0", uid)
        for uid in (b"1.2.3.4.1\0", b"1.2.3.4.1\0", b"1.2.3.4.8\0", b"1.2.3.4.9\0")
    ]

    assert_taken_as_without(memory, contents, IMPLICIT)


def test_what_follows_the_padding_of_a_known_slice_is_ignored_as_ever() -> None:
    padding = Field(0, b"UL", b"\0\0\0\0").encoded(LITTLE) + b"\1" * 13

    assert_taken_as_without(HeaderMemory(), [slice_with() + padding] * 6, LITTLE)


def test_an_element_of_the_identity_that_comes_too_late_may_be_of_any_length() -> None:
    late = Field(PATIENT_NAME, b"UT", bytes((1 << 20) + 2)).encoded(LITTLE)
    memory = learned(*[slice_with()] * 5)

    assert outcome_of_whole(slice_with() + late, memory)[0].sop_instance_uid == "1.2.3.4.1"


def test_elements_beyond_are_not_followed_in_the_byte_order_of_another_data_set() -> None:
    beyond = [field.tag for field in SLICE].index(POSITION)
    rest = content_of(list(SLICE[beyond:]), LITTLE)
    big = content_of(list(SLICE[:beyond]), BIG)
    memory = learned(*[slice_with()] * 6)

    whole = content_of(list(SLICE), BIG)
    assert_taken_as_without(memory, [whole] * 4 + [big + rest], BIG)
    assert_taken_as_without(learned(*[slice_with()] * 6), [big + rest] * 20, BIG)


def test_a_data_set_within_a_value_is_no_data_set() -> None:
    inner, outer = slice_with(), slice_with(patient_name=b"Roe^Jack")
    begin = Field(0x00080001, b"UN", b"").encoded(LITTLE, len(inner))
    memory = HeaderMemory()
    for _ in range(4):
        cuts = [len(begin)]
        fresh = outcome(begin + inner + outer, LITTLE, None, cuts)
        assert outcome(begin + inner + outer, LITTLE, memory, cuts) == fresh
    assert_taken_as_without(memory, [inner] * 3, LITTLE)

    fresh = outcome(begin + inner + outer, LITTLE, None, cuts)
    assert outcome(begin + inner + outer, LITTLE, memory, cuts) == fresh
