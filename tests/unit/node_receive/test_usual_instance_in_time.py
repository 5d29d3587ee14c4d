"""How long an instance may take by the short way, and what time it leaves to the long way."""

from __future__ import annotations

import struct
import time

import pytest

from tests.unit.node_receive.scripted_stream import (
    CONTEXT_ID,
    MAX_PDU_BYTES,
    STORE,
    Script,
    reading,
)
from tests.unit.node_receive.short_taking import (
    HEAD,
    LARGE,
    LARGEST,
    SMALL,
    assert_as_by_the_long_way,
    compiled,
    plain,
    take,
)


@pytest.mark.parametrize("at", [0, 1, 11, 12, 13, 5000, 70_000, 70_011])
def test_a_peer_that_stalls_is_left_to_the_long_way(at: int) -> None:
    wire = plain(LARGE, LARGEST)
    cut = len(STORE) + at

    began = time.monotonic()
    script = Script([wire[:cut], wire[cut:]], pause_s=0.4)
    taken = assert_as_by_the_long_way(script, within_s=0.05)

    assert taken.end == compiled.OTHERWISE
    assert time.monotonic() - began < 5


def test_what_may_take_no_time_is_taken_if_it_is_here() -> None:
    script = Script([plain(SMALL, LARGEST)])
    with reading(script) as read:
        time.sleep(0.1)
        assert take(read, within_s=0.0).end == compiled.STORED


def test_what_came_before_the_long_way_gives_the_peer_time() -> None:
    """The large part comes late, and the rest so much later that it needs that time."""
    wire, cut = plain(LARGE, LARGEST, LARGEST, 40), len(STORE) + 2 * (LARGEST + 12)
    script = Script([STORE, wire[len(STORE) : cut], wire[cut : cut + 52]], pause_s=0.6)
    with reading(script, timeout_s=1.0) as read:
        began = time.monotonic()
        taken = take(read, within_s=0.8)
        assert taken.end == compiled.OTHERWISE
        read.messages.go_back(taken.rest, taken.size_bytes - len(HEAD))
        assert read.messages.read_into(memoryview(bytearray(1 << 20))) == 2 * LARGEST
        assert read.messages.read_into(memoryview(bytearray(1 << 20))) == 40
        assert time.monotonic() - began > 1.1


def test_fragments_may_not_come_together_for_longer_than_a_message_may_take() -> None:
    with reading(Script([plain(SMALL, LARGEST)]), timeout_s=0.2) as read:
        assert 0 < read.messages.quick_s <= 0.2
    with reading(Script([plain(SMALL, LARGEST)])) as read:
        assert 0.5 < read.messages.quick_s <= 1


def test_a_resumed_value_may_be_the_largest_there_is() -> None:
    header = struct.pack(">BxIIBB", 4, MAX_PDU_BYTES, MAX_PDU_BYTES - 4, CONTEXT_ID, 0)
    wire = plain(LARGE, LARGEST)
    assert wire[len(STORE) :].startswith(header)

    for cut in (len(STORE) + 12, len(STORE) + 13, len(STORE) + 12 + 32_768):
        script = Script([wire[:cut], wire[cut:]], pause_s=0.2)
        taken = assert_as_by_the_long_way(script, within_s=0.02)
        assert taken.end == compiled.OTHERWISE
