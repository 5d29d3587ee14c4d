from __future__ import annotations

import struct
from functools import partial
from typing import Any

import pytest

from node.receive import header_memory
from node.receive.arriving_instance import ArrivingInstance
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.element_headers import ByteOrder
from node.receive.header_layout import PlacedElement
from node.receive.header_memory import HeaderMemory
from node.receive.instance_header import InstanceHeader, header_of
from tests.unit.node_receive.like_slices import (
    LITTLE,
    SERIES,
    SLICE,
    Field,
    assert_taken_as_without,
    content_of,
    is_recalled,
    learned,
    outcome,
    slice_with,
)


def test_names_of_different_lengths_are_still_compared() -> None:
    names = [
        b"A" * 2,
        b"A" * 2,
        b"B" * 4,
        b"B" * 4,
        b"A" * 2,
        b"A" * 2,
        b"B" * 4,
        b"C" * 4,
        b"D" * 6,
    ]
    contents = [slice_with(patient_name=name) for name in names for _ in range(3)]

    assert_taken_as_without(HeaderMemory(), contents, LITTLE)


def test_after_many_like_slices_a_change_is_soon_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr("node.receive.arriving_instance.header_of", partial(_counted, read))
    memory = HeaderMemory()
    for series in range(8):
        extra = Field(0x00280020 + series, b"DS", b"1 ")
        fields = [field for field in SLICE if field.tag != SERIES] + [extra]
        fields.append(Field(SERIES, b"UI", b"1.2.3.%d\0" % series))
        content = content_of(sorted(fields, key=lambda field: field.tag), LITTLE)
        for _ in range(8):
            outcome(content, LITTLE, memory)
        known = memory.recall(memoryview(content), LITTLE)
        assert known is not None
        assert known[1] == len(content)

    assert len(read) == 8


def test_a_header_that_ends_with_the_first_fragment_is_not_known() -> None:
    memory, content = learned(), slice_with()
    beyond = content.index(struct.pack("<HH", 0x0020, 0x0032))
    known = [length for length in range(len(content)) if is_recalled(memory, content[:length])]

    assert known == list(range(beyond + 8, len(content)))


def test_a_wrong_uid_is_told_when_all_has_come_as_ever() -> None:
    memory, content = learned(), slice_with(sop_instance=b"1..2")
    arriving = ArrivingInstance(LITTLE, memory)
    arriving.take(memoryview(content))

    with pytest.raises(StoreRefused) as caught:
        arriving.finish()

    assert caught.value.failure is StoreFailure.INVALID_UID


def test_the_study_of_a_known_slice_is_known_while_it_comes() -> None:
    arriving = ArrivingInstance(LITTLE, learned())
    arriving.take(memoryview(slice_with())[:-9])

    assert arriving.study_instance_uid == "1.2.3"


def test_a_known_slice_is_followed_from_its_last_whole_element_on() -> None:
    content = slice_with(pixels=bytes(9000))
    memory = learned(*[content] * 5)

    known = memory.recall(memoryview(content), LITTLE)

    assert known is not None
    assert known[1] == content.index(struct.pack("<HH", 0x7FE0, 0x0010))


def test_values_that_differ_in_length_are_soon_expected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr("node.receive.arriving_instance.header_of", partial(_counted, read))
    memory = HeaderMemory()
    for number in range(40):
        varied = b"1" * (2 * (number * number % 7) + 2)
        content = slice_with(
            image_type=varied, content_time=varied, position=varied, sop_instance=b"1.2." + varied
        )
        outcome(content, LITTLE, memory)

    assert len(read) < 12
    known = memory.recall(memoryview(content), LITTLE)
    assert known is not None
    assert known[0].sop_instance_uid == "1.2." + varied.decode()
    assert known[1] == len(content)


def test_what_never_comes_again_is_seldom_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[bytes] = []
    real = header_memory._identity

    def identity(order: ByteOrder, window: bytes) -> list[PlacedElement]:
        windows.append(window)
        return real(order, window)

    monkeypatch.setattr(header_memory, "_identity", identity)
    memory = HeaderMemory()
    contents = [slice_with(series=b"1.2.3.%d" % (1000 + number)) for number in range(300)]
    for content in contents:
        outcome(content, LITTLE, memory)

    learned_at = [contents.index(window) for window in windows]
    assert learned_at == [*range(8), 9, 13, 21, 37, 69, 133, 197, 261]


def test_a_sender_of_ever_new_elements_does_not_fill_the_memory() -> None:
    memory = HeaderMemory()
    for number in range(3000):
        private = [Field(0x00290000 + 40 * number + n, b"LO", b"") for n in range(40)]
        outcome(content_of([*SLICE[:-1], *private], LITTLE), LITTLE, memory)

    assert len(memory._varying._lengths) <= header_memory._MOST_TAGS + 100


def _counted(read: list[int], *args: Any) -> InstanceHeader:
    read.append(1)
    return header_of(*args)
