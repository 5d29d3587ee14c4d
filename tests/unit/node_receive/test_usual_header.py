"""What compiled code takes for an instance like the one before, the long way takes for the same."""

from __future__ import annotations

import struct

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from node.receive import likeness
from node.receive.dimse_status import StoreFailure
from node.receive.header_memory import HeaderMemory
from tests.unit.node_receive.like_slices import (
    BIG,
    LITTLE,
    NUMBER,
    PATIENT_NAME,
    PIXELS,
    POSITION,
    SLICE,
    Field,
    content_of,
    learned,
    mutated,
    outcome,
    slice_with,
)

compiled = pytest.importorskip("node.receive.usual_header")
"""It is built where there is a compiler."""

UID = b"1.2.3.4.1"
NO_LENGTH = 0xFFFFFFFF
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
BEFORE_PIXELS = content_of(list(SLICE[:-1]), LITTLE)


def number_in(memory: HeaderMemory, content: bytes, uid: bytes = UID) -> int | None:
    """What compiled code says of a data set, held against what the memory knows."""
    known = memory.known
    assert known is not None
    header = likeness.comparison(known)
    assert header is not None
    number = header.number_of(content, uid)
    if number is not None:
        fresh = outcome(content, LITTLE, None)
        assert not isinstance(fresh, StoreFailure)
        assert fresh[0] == known.header._replace(
            sop_instance_uid=uid.decode(), instance_number=number
        )
    return number


def compressed(*fragments: bytes, end: bytes = END, vr: bytes = b"OB") -> bytes:
    """A slice whose pixels are compressed (PS3.5 A.4)."""
    items = [ITEM + struct.pack("<I", len(each)) + each for each in fragments]
    pixels = Field(PIXELS, vr, b"".join(items) + end).encoded(LITTLE, NO_LENGTH)
    return BEFORE_PIXELS + pixels


@st.composite
def _damaged(draw: st.DrawFn, content: bytes) -> bytes:
    match draw(st.sampled_from(["whole"] * 6 + ["cut", "more", "bytes", "length"])):
        case "cut":
            return content[: draw(st.integers(0, len(content)))]
        case "more":
            return content + draw(st.binary(min_size=1, max_size=14))
        case "bytes":
            at = draw(st.integers(0, len(content)))
            return content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at + 1 :]
        case "length":
            at = draw(st.integers(0, len(content)))
            length = draw(st.sampled_from([0, 1, 2, 0xFFFF, 2**31 - 1, 2**31, NO_LENGTH - 1]))
            return content[:at] + struct.pack("<I", length) + content[at + 4 :]
        case _:
            return content


@st.composite
def _next_ones(draw: st.DrawFn) -> bytes:
    fields = draw(mutated())
    content = content_of(fields, LITTLE)
    if draw(st.booleans()):
        fragments = draw(st.lists(st.binary(max_size=9), max_size=3))
        end = draw(
            st.sampled_from([END, END, b"", END[:5], END + ITEM, ITEM + b"\xff\xff\xff\xff"])
        )
        pixels = compressed(*fragments, end=end, vr=draw(st.sampled_from([b"OB", b"OW", b"SQ"])))
        content = content_of(fields[:-1], LITTLE) + pixels[len(BEFORE_PIXELS) :]
    return draw(_damaged(content))


@given(
    before=st.lists(mutated(), max_size=3),
    content=_next_ones(),
    uid=st.sampled_from([UID, b"1.2.3.4.2", b"1.2.3.4.10"]),
)
def test_what_is_known_is_what_it_would_be_without_a_memory(
    before: list[list[Field]], content: bytes, uid: bytes
) -> None:
    memory = learned(slice_with(), slice_with(), *(content_of(each, LITTLE) for each in before))
    if memory.known is None:
        memory = learned()

    number = number_in(memory, content, uid)

    event(f"known: {number is not None}")


@pytest.mark.parametrize("flipped", [0x01, 0x03, 0x20, 0xFF])
def test_no_byte_differs_unseen(flipped: int) -> None:
    memory, plain = learned(), slice_with()
    known = 0
    for at in range(len(plain)):
        other = bytearray(plain)
        other[at] ^= flipped
        known += number_in(memory, bytes(other)) is not None

    assert known >= 250


@pytest.mark.parametrize(
    ("changed", "uid", "number"),
    [
        ({}, UID, 1),
        ({"number": b"77"}, UID, 77),
        ({"number": b"0 "}, UID, 0),
        ({"number": b"7"}, UID, 7),
        ({"number": b"999999999 "}, UID, 999999999),
        ({"sop_instance": b"1.2.3.4.99999\0"}, b"1.2.3.4.99999", 1),
        ({"sop_instance": b"1.2.9"}, b"1.2.9", 1),
        ({"sop_instance": b"1.2.9 \0 "}, b"1.2.9", 1),
        ({"content_time": b"235959"}, UID, 1),
        ({"position": b"1\\2"}, UID, 1),
        ({"pixels": b""}, UID, 1),
        ({"pixels": bytes(100_001)}, UID, 1),
    ],
)
def test_a_slice_is_known_whatever_its_own_values_and_what_follows(
    changed: dict[str, bytes], uid: bytes, number: int
) -> None:
    assert number_in(learned(), slice_with(**changed), uid) == number


def test_a_slice_is_known_when_a_value_before_its_number_has_another_length() -> None:
    memory = learned(
        *[slice_with(content_time=b"101500." + b"1" * size) for size in (1, 1, 3, 3, 3, 3)]
    )

    assert number_in(memory, slice_with(content_time=b"10", number=b"12")) == 12


@pytest.mark.parametrize(
    "content",
    [
        compressed(b"", b"\xff\xd8jpeg"),
        compressed(b"\0\0\0\0", b"odd", b"", b"even", vr=b"OW"),
        compressed(),
        compressed(b"1") + Field(0xFFFCFFFC, b"OB", b"\0\0").encoded(LITTLE),
    ],
)
def test_a_slice_is_known_with_compressed_pixels(content: bytes) -> None:
    assert number_in(learned(), content) == 1


@pytest.mark.parametrize(
    "content",
    [
        compressed(b"1", end=b""),
        compressed(b"1", end=END[:7]),
        compressed(b"1")[:-12],
        compressed(b"1", end=ITEM + struct.pack("<I", NO_LENGTH) + END),
        compressed(b"1", end=ITEM + struct.pack("<I", NO_LENGTH - 7)),
        compressed(b"1", end=b"\x10\0\x10\0\0\0\0\0" + END),
        compressed(b"1", vr=b"UN"),
        compressed(b"1", vr=b"SQ"),
    ],
)
def test_a_slice_whose_fragments_do_not_end_is_not_known(content: bytes) -> None:
    assert number_in(learned(), content) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"\2\0\x10\0UI\x02\0" + slice_with(),
        b"\2\0" + slice_with()[2:],
        slice_with()[:-1],
        slice_with()[:-250],
        BEFORE_PIXELS + Field(PIXELS, b"OW", b"").encoded(LITTLE, 2**32 - 2),
        BEFORE_PIXELS + Field(PIXELS, b"ZZ", b"").encoded(LITTLE),
        BEFORE_PIXELS + b"\xe0\x7f\x10\0OW\0\0",
        BEFORE_PIXELS + b"\xe0\x7f\x10\0US\0",
        slice_with() + b"\0",
        slice_with() + bytes(8),
        slice_with() + bytes(20),
        slice_with() + Field(0x00000010, b"UL", b"1234").encoded(LITTLE),
        content_of(list(SLICE[:-4]), LITTLE),
        content_of([*SLICE[:-4], Field(NUMBER, b"IS", b"5 "), *SLICE[-4:]], LITTLE),
        content_of([*SLICE[:-4], Field(0x00200010, b"SH", b"5 "), *SLICE[-4:]], LITTLE),
        slice_with(patient_name=b"D\xf6e^Jill"),
        slice_with(patient_name=b"D\xf6e^Janet"),
        slice_with(series=b"1.2.3.5\0"),
        slice_with(sop_class=b"1.2.840.10008.5.1.4.1.1.2\0"),
        slice_with(sop_instance=b"1.2.3.4.2\0"),
        slice_with(sop_instance=b"1.2.3.4.1\0\0x"),
        slice_with(sop_instance=b""),
    ],
)
def test_another_identity_or_what_is_not_whole_is_not_known(content: bytes) -> None:
    assert number_in(learned(), content) is None


def test_a_data_set_that_begins_with_group_2_is_not_known_by_another_one() -> None:
    content = Field(0x00020010, b"UI", b"1.2\0").encoded(LITTLE) + slice_with()

    assert number_in(learned(content, content), content) is None
    assert number_in(learned(), slice_with()) == 1


@pytest.mark.parametrize("number", [b"", b"01", b" 1", b"+1", b"-1", b"1.", b"1\0", b"1234567890"])
def test_a_number_that_is_not_plain_is_left_to_the_long_way(number: bytes) -> None:
    assert number_in(learned(), slice_with(number=number)) is None


@pytest.mark.parametrize("uid", [b"", b"1.2.3.4.1\0", b"1.2.3.4.", b"1.2.3.4.11"])
def test_a_slice_with_another_uid_than_the_command_says_is_not_known(uid: bytes) -> None:
    assert number_in(learned(), slice_with(), uid) is None


def test_a_data_set_cut_anywhere_is_not_known() -> None:
    for whole in (slice_with(), compressed(b"12", b"345")):
        for length in range(len(whole)):
            number_in(learned(), whole[:length])
        assert number_in(learned(), whole[:-1]) is None


def test_big_endian_and_what_has_too_many_parts_are_left_to_the_long_way() -> None:
    big = HeaderMemory()
    for _ in range(3):
        outcome(content_of(list(SLICE), BIG), BIG, big)
    many = [Field(0x00090010 + at, b"LO", b"1") for at in range(compiled.MOST_PARTS)]
    longer = [Field(one.tag, one.vr, b"123") for one in many]
    at = [field.tag for field in SLICE].index(PATIENT_NAME)
    contents = [
        content_of([*SLICE[:at], *each, *SLICE[at:]], LITTLE)
        for each in (many, many, longer, longer, many, many, longer, longer, longer)
    ]
    for known in (big.known, learned(*contents).known):
        assert known is not None
        assert likeness.comparison(known) is None


@pytest.mark.parametrize(
    "wrong",
    [
        (b"12", b"\xff\xff", [2], False, 1, 0),
        (b"12", b"\xff\xff", [2], False, -1, 0),
        (b"12", b"\xff\xff", [2], True, 0, 0),
        (b"12", b"\xff", [2], False, 0, 0),
        (b"123", b"\xff" * 3, [2], False, 0, 0),
        (b"1", b"\xff", [1], False, 0, 0),
        (b"1234", b"\xff" * 4, [6, -2], False, 0, 0),
        (b"12" * 65, b"\xff" * 130, [2] * 65, False, 0, 0),
    ],
)
def test_parts_that_cannot_be_are_refused(
    wrong: tuple[bytes, bytes, list[int], bool, int, int],
) -> None:
    with pytest.raises(ValueError, match=r"part|values"):
        compiled.UsualHeader(*wrong)


def test_the_last_part_may_be_closed_and_what_follows_must_lie_beyond() -> None:
    beyond = content_of([Field(POSITION, b"DS", b"1")], LITTLE)
    head = content_of([Field(0x00080018, b"UI", b"1.2"), Field(NUMBER, b"IS", b"5")], LITTLE)
    part, last = head[:8], head[11:19]
    sizes = [8, 8, 9]
    closed = b"\x20\0\x13\0CS\1\0x"
    header = compiled.UsualHeader(
        part + last + closed, b"\xff" * 8 * 2 + b"\xff" * 9, sizes, True, 0, 1
    )

    assert header.number_of(head + closed + beyond, b"1.2") == 5
    assert header.number_of(head + closed + closed, b"1.2") is None
    assert header.number_of(head + closed, b"1.2") is None
