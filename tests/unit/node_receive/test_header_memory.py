from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.receive import header_memory
from node.receive.arriving_instance import ArrivingInstance
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.element_headers import LONG_VRS, ByteOrder
from node.receive.header_layout import PlacedElement
from node.receive.header_memory import HeaderMemory
from node.receive.instance_header import InstanceHeader, header_of

LITTLE, BIG = str(ExplicitVRLittleEndian), str(ExplicitVRBigEndian)
IMPLICIT, DEFLATED = str(ImplicitVRLittleEndian), str(DeflatedExplicitVRLittleEndian)
SOP_CLASS, SOP_INSTANCE, NUMBER = 0x00080016, 0x00080018, 0x00200013
IMAGE_TYPE, CONTENT_TIME, COMMENTS = 0x00080008, 0x00080033, 0x00104000
POSITION, IMAGE_COMMENTS, PIXELS = 0x00200032, 0x00204000, 0x7FE00010
PATIENT_NAME, SERIES = 0x00100010, 0x0020000E


@dataclass(frozen=True, slots=True)
class Field:
    """One element as a sender writes it."""

    tag: int
    vr: bytes
    value: bytes

    def encoded(self, syntax: str, length: int | None = None) -> bytes:
        order = ">" if syntax == BIG else "<"
        size = len(self.value) if length is None else length
        begin = struct.pack(f"{order}HH", self.tag >> 16, self.tag & 0xFFFF)
        if syntax == IMPLICIT:
            return begin + struct.pack("<I", size) + self.value
        if self.vr in LONG_VRS:
            return begin + self.vr + struct.pack(f"{order}HI", 0, size) + self.value
        return begin + self.vr + struct.pack(f"{order}H", size & 0xFFFF) + self.value


SLICE = (
    Field(0x00080005, b"CS", b"ISO_IR 100"),
    Field(IMAGE_TYPE, b"CS", b"ORIGINAL\\PRIMARY"),
    Field(SOP_CLASS, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
    Field(SOP_INSTANCE, b"UI", b"1.2.3.4.1\0"),
    Field(0x00080020, b"DA", b"20260314"),
    Field(CONTENT_TIME, b"TM", b"101500"),
    Field(0x00080060, b"CS", b"MR"),
    Field(0x00081032, b"SQ", b"\xfe\xff\x00\xe0\x00\x00\x00\x00"),
    Field(PATIENT_NAME, b"PN", b"D\xf6e^Jane"),
    Field(0x00100020, b"LO", b"P1"),
    Field(COMMENTS, b"UT", b"some"),
    Field(0x00180050, b"DS", b"1 "),
    Field(0x0020000D, b"UI", b"1.2.3\0"),
    Field(SERIES, b"UI", b"1.2.3.4\0"),
    Field(0x00200011, b"IS", b"4 "),
    Field(NUMBER, b"IS", b"1 "),
    Field(POSITION, b"DS", b"1\\2\\3 "),
    Field(IMAGE_COMMENTS, b"UT", b"more"),
    Field(0x00280010, b"US", b"\2\0"),
    Field(PIXELS, b"OW", bytes(range(250))),
)
VALUES = [b"", b"1 ", b"2 ", b"10", b"100 ", b"MR", b"CT", b"1.2.3.4\0", b"1.2.3.5\0", b"1.2.x\0"]
TAGS = [field.tag for field in SLICE] + [0x00020010, 0x00080000, 0x00090010, 0x00200052, 0x00400001]
VRS = [b"UI", b"IS", b"LO", b"UT", b"SQ", b"UN", b"ZZ", b"\0\0"]

Outcome = tuple[InstanceHeader, str] | StoreFailure


def slice_with(**values: bytes) -> bytes:
    """The slice in Explicit VR Little Endian, with other values by the names of their tags."""
    changed = {globals()[name.upper()]: value for name, value in values.items()}
    fields = [replace(each, value=changed.get(each.tag, each.value)) for each in SLICE]
    return content_of(fields, LITTLE)


def content_of(fields: list[Field], syntax: str) -> bytes:
    content = b"".join(field.encoded(syntax) for field in fields)
    if syntax != DEFLATED:
        return content
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(content) + deflate.flush()


def outcome(
    content: bytes, syntax: str, memory: HeaderMemory | None, cuts: list[int] | None = None
) -> Outcome:
    """What is said of an instance that comes in fragments, with a memory or without."""
    arriving = ArrivingInstance(syntax, memory)
    ends = sorted(cut % (len(content) + 1) for cut in cuts or [])
    try:
        for begin, end in zip([0, *ends], [*ends, len(content)], strict=True):
            arriving.take(memoryview(bytearray(content[begin:end])))
        return arriving.finish(), arriving.dataset_digest()
    except StoreRefused as refused:
        return refused.failure


def learned(*contents: bytes) -> HeaderMemory:
    """A memory of these slices."""
    memory = HeaderMemory()
    for content in contents or [slice_with()] * 2:
        outcome(content, LITTLE, memory)
    return memory


def is_recalled(memory: HeaderMemory, content: bytes, syntax: str = LITTLE) -> bool:
    return memory.recall(memoryview(content), syntax) is not None


@st.composite
def mutated(draw: st.DrawFn) -> list[Field]:
    """A slice that differs from the base in anything, or in nothing but what slices differ in."""
    fields = list(SLICE)
    index = [field.tag for field in fields].index
    fields[index(SOP_INSTANCE)] = Field(
        SOP_INSTANCE, b"UI", draw(st.sampled_from([b"1.2.3.4.2\0", b"1.2.3.4.10", b"1.2.y\0"]))
    )
    fields[index(NUMBER)] = Field(
        NUMBER, b"IS", draw(st.sampled_from([b"2 ", b"10", b"100 ", b"x "]))
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(fields) - 1))
        match draw(st.sampled_from(["value", "value", "vr", "drop", "insert", "twice", "move"])):
            case "value":
                fields[at] = replace(fields[at], value=draw(st.sampled_from(VALUES)))
            case "vr":
                fields[at] = replace(fields[at], vr=draw(st.sampled_from(VRS)))
            case "drop" if len(fields) > 1:
                del fields[at]
            case "insert":
                tag, vr = draw(st.sampled_from(TAGS)), draw(st.sampled_from(VRS))
                fields.insert(at, Field(tag, vr, draw(st.sampled_from(VALUES))))
            case "twice":
                fields.insert(draw(st.integers(0, len(fields))), fields[at])
            case _:
                fields.insert(draw(st.integers(0, len(fields) - 1)), fields.pop(at))
    return fields


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[bytes, str, list[int]]:
    """The bytes of a data set, mostly whole, its transfer syntax, and where it is cut."""
    syntax = draw(st.sampled_from([LITTLE] * 6 + [BIG, BIG, IMPLICIT, DEFLATED]))
    content = content_of(draw(mutated()), syntax)
    match draw(st.sampled_from(["whole"] * 7 + ["cut", "bytes", "noise"])):
        case "cut":
            content = content[: draw(st.integers(0, len(content)))]
        case "bytes" if content:
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at + 1 :]
        case "noise":
            content = draw(st.binary(max_size=80))
        case _:
            pass
    cuts = draw(st.just([]) | st.lists(st.integers(0, 700), max_size=4))
    return content, syntax, cuts


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
def test_the_third_of_like_slices_is_known_by_those_before(syntax: str) -> None:
    memory, content = HeaderMemory(), content_of(list(SLICE), syntax)
    known = []
    for _ in range(3):
        known.append(is_recalled(memory, content, syntax))
        outcome(content, syntax, memory)

    assert known == [False, False, True]


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


def outcome_of_whole(content: bytes, memory: HeaderMemory) -> tuple[InstanceHeader, str]:
    taken = outcome(content, LITTLE, memory)
    assert isinstance(taken, tuple)
    return taken


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


def assert_taken_as_without(memory: HeaderMemory, contents: list[bytes], syntax: str) -> None:
    """Take instances with a memory; what is said of each is what is said without one."""
    for content in contents:
        assert outcome(content, syntax, memory) == outcome(content, syntax, None)


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

    assert len(read) == 8 * 2


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

    assert [contents.index(window) for window in windows] == [1, 5, 13, 29, 61, 125, 189, 253]


def test_a_sender_of_ever_new_elements_does_not_fill_the_memory() -> None:
    memory = HeaderMemory()
    for number in range(3000):
        private = [Field(0x00290000 + 40 * number + n, b"LO", b"") for n in range(40)]
        outcome(content_of([*SLICE[:-1], *private], LITTLE), LITTLE, memory)

    assert len(memory._varying._lengths) <= header_memory._MOST_TAGS + 100


def _counted(read: list[int], *args: Any) -> InstanceHeader:
    read.append(1)
    return header_of(*args)
