"""An instance by the short way: taken as it was sent, or left to the long way as if untouched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from node.receive.pdu_stream import LAST
from tests.peers.raw_dicom import A_ABORT, A_RELEASE_RQ, COMMAND, p_data, pdu, pdv
from tests.unit.node_receive.like_kinds import command
from tests.unit.node_receive.like_slices import BIG, SLICE, content_of, slice_with
from tests.unit.node_receive.run_taking import (
    Ran,
    assert_as_by_the_long_way,
    compiled,
    following,
    run,
)
from tests.unit.node_receive.scripted_stream import (
    AFTERWARDS,
    CONTEXT_ID,
    MAX_PDU_BYTES,
    Script,
    claimed,
    in_values,
)

COMMAND_SET = command("1.2.3.4.1")
LARGE = slice_with(pixels=bytes(range(250)) * 2000)
SMALL = slice_with()
LARGEST = MAX_PDU_BYTES - 6


def wire_of(*pdus: bytes, after: bytes = AFTERWARDS) -> bytes:
    return COMMAND_SET + b"".join(pdus) + after


def plain(data_set: bytes, *sizes: int) -> bytes:
    return wire_of(*map(p_data, in_values(data_set, list(sizes))))


def taken_as_by_the_long_way(*pieces: bytes, **options: Any) -> Ran:
    """Take one instance."""
    return assert_as_by_the_long_way(Script(list(pieces)), places=1, **options)


_ODD_PDUS = [
    p_data(pdv(CONTEXT_ID, 0)),
    p_data(pdv(CONTEXT_ID, LAST)),
    p_data(pdv(5, 0, b"another context")),
    p_data(pdv(CONTEXT_ID, COMMAND, b"a command")),
    p_data(pdv(CONTEXT_ID, 0, b"one"), pdv(CONTEXT_ID, 0, b"two")),
    p_data(pdv(CONTEXT_ID, 0, b"one"), pdv(CONTEXT_ID, LAST, b"")),
    p_data(pdv(CONTEXT_ID, 0x80, b"bits that say nothing")),
    p_data(pdv(CONTEXT_ID, 0, b"too long", length=99)),
    p_data(pdv(CONTEXT_ID, 0, b"too short", length=3)),
    p_data(pdv(CONTEXT_ID, 0, b"huge", length=2**32 - 1)),
    p_data(pdv(CONTEXT_ID, 0, b"", length=0)),
    p_data(b""),
    p_data(b"\0"),
    claimed(MAX_PDU_BYTES + 1),
    claimed(2**32 - 1),
    claimed(0),
    claimed(5),
    pdu(A_ABORT),
    pdu(A_RELEASE_RQ),
    pdu(2, bytes(80)),
    pdu(9),
    b"\0",
    b"",
]


@st.composite
def _wires(draw: st.DrawFn) -> tuple[bytes, bool]:
    """What a peer sends, and whether that is all plain."""
    data_set = draw(
        st.sampled_from([SMALL, LARGE, SMALL[:-1], SMALL + b"\0", LARGE[:70_000], b"", b"\2\0"])
    )
    usual = st.integers(1, LARGEST) | st.sampled_from([LARGEST, 1 << 14, 4096])
    least = 4000 if len(data_set) > 10_000 else 1
    sizes = draw(st.lists(usual.map(lambda size: max(size, least)), min_size=1, max_size=4))
    values = in_values(data_set, sizes)
    is_plain = data_set in (SMALL, LARGE)
    if draw(st.integers(0, 3)) == 0 and len(values) > 1:
        is_plain = False
        at = draw(st.integers(0, len(values) - 2))
        values[at : at + 2] = [values[at] + values[at + 1]]
    pdus = [p_data(value) for value in values]
    if draw(st.integers(0, 2)) == 0:
        is_plain = False
        pdus.insert(draw(st.integers(0, len(pdus))), draw(st.sampled_from(_ODD_PDUS)))
    wire = wire_of(*pdus)
    if draw(st.integers(0, 4)) == 0:
        is_plain = False
        wire = wire[: draw(st.integers(len(COMMAND_SET), len(wire)))]
    return wire, is_plain


@settings(max_examples=200, deadline=None)
@given(
    wire=_wires(),
    cuts=st.lists(st.integers(0, 600_000) | st.integers(0, 700), max_size=6),
    room=st.sampled_from([1 << 20, 1 << 20, 1 << 20, len(LARGE), len(SMALL), 300, 12, 0]),
)
def test_whatever_comes_is_taken_as_it_is_or_left_to_the_long_way(
    wire: tuple[bytes, bool], cuts: list[int], room: int
) -> None:
    content, is_plain = wire
    ends = sorted({cut % (len(content) + 1) for cut in cuts})
    pieces = [
        content[begin:end] for begin, end in zip([0, *ends], [*ends, len(content)], strict=True)
    ]
    ran = taken_as_by_the_long_way(*pieces, room=room)

    event(f"end: {ran.end}")
    if is_plain and room >= len(LARGE):
        assert ran.has_taken(1)


@pytest.mark.parametrize("odd", _ODD_PDUS, ids=range(len(_ODD_PDUS)))
@pytest.mark.parametrize("place", [0, 1, 2, 6])
def test_an_odd_pdu_anywhere_in_a_data_set_is_met_by_the_long_way(odd: bytes, place: int) -> None:
    pdus = [p_data(value) for value in in_values(LARGE, [LARGEST])]
    pdus.insert(place, odd)

    ran = taken_as_by_the_long_way(wire_of(*pdus))
    taken_as_by_the_long_way(wire_of(*pdus[: place + 1], after=b""))

    if odd:
        assert ran.end in (compiled.OTHERWISE, compiled.VANISHED)
        assert not ran.page


@pytest.mark.parametrize("sizes", [(LARGEST,), (16378,), (4000, 11, 1), (32768, 32767)])
def test_a_data_set_in_any_plain_fragments_is_stored(sizes: tuple[int, ...]) -> None:
    for data_set in (LARGE, SMALL):
        ran = taken_as_by_the_long_way(plain(data_set, *sizes))
        assert ran.has_taken(1)
        assert [one[3] for one in ran.done] in ([1], [])


def test_a_data_set_that_comes_byte_by_byte_is_stored() -> None:
    wire = plain(SMALL, 97)

    ran = taken_as_by_the_long_way(*(wire[at : at + 1] for at in range(len(wire))))

    assert ran.has_taken(1)


@pytest.mark.parametrize(
    "data_set",
    [
        slice_with(patient_name=b"D\xf6e^Jill"),
        slice_with(sop_instance=b"1.2.3.4.2\0"),
        slice_with(number=b"1x"),
        content_of(list(SLICE), BIG),
        LARGE[:-1],
        LARGE + b"\0\0",
    ],
)
def test_what_is_not_like_any_is_left_when_all_of_it_is_here(data_set: bytes) -> None:
    ran = taken_as_by_the_long_way(plain(data_set, 30_000), kinds=3)

    assert ran.end == compiled.OTHERWISE
    assert not ran.page
    assert ran.begun is None or not ran.is_quick or ran.begun[1] == len(data_set)


@pytest.mark.parametrize("at", [0, 5, 12, 13, 70_000])
def test_a_peer_that_closes_has_vanished(at: int) -> None:
    ran = taken_as_by_the_long_way(plain(LARGE, LARGEST)[: len(COMMAND_SET) + at])

    assert ran.end == compiled.VANISHED or not ran.is_quick
    assert not ran.page


@pytest.mark.parametrize("missing", [0, 1, 12, 13])
def test_a_data_set_may_fill_the_memory_but_not_more(missing: int) -> None:
    ran = taken_as_by_the_long_way(plain(LARGE, LARGEST), room=len(LARGE) - missing)

    assert ran.has_taken(int(missing == 0))


def test_a_pdu_that_is_longer_than_allowed_is_not_taken() -> None:
    for longest, count in ((1006, 1), (1005, 0)):
        with following(Script([plain(LARGE, 1000)])) as read:
            assert run(read, places=1, longest=longest).has_taken(count)


@pytest.mark.parametrize("which", ["file", "page"])
def test_what_cannot_be_written_is_left_to_the_long_way(which: str) -> None:
    with following(Script([plain(LARGE, LARGEST)])) as read:
        ran = run(read, places=1, **{which: "/dev/full"})  # type: ignore[arg-type]

    assert ran.end == compiled.FAILED
    assert (ran.done, ran.page, bytes(read.answers)) == ([], b"", b"")


def test_a_receipt_behind_half_a_line_is_read() -> None:
    ran = taken_as_by_the_long_way(plain(SMALL, LARGEST), on_page=b'01234567 {"half of')

    assert ran.has_taken(1)
