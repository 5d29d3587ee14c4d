"""How long an instance may take by the short way, and what time it leaves to the long way."""

from __future__ import annotations

import struct
import time

import pytest

from node.receive.message_stream import MessageStream
from tests.peers.raw_dicom import LAST, p_data, pdv
from tests.unit.node_receive.like_kinds import command
from tests.unit.node_receive.like_slices import slice_with
from tests.unit.node_receive.run_taking import (
    assert_as_by_the_long_way,
    compiled,
    following,
    run,
)
from tests.unit.node_receive.scripted_stream import (
    CONTEXT_ID,
    MAX_PDU_BYTES,
    Script,
    in_values,
)

REQUEST = command("1.2.3.4.1")
LARGE = slice_with(pixels=bytes(range(250)) * 2000)
LARGEST = MAX_PDU_BYTES - 6


def in_sizes(*sizes: int) -> bytes:
    return REQUEST + b"".join(map(p_data, in_values(LARGE, list(sizes))))


@pytest.mark.parametrize("at", [0, 1, 11, 12, 13, 5000, 70_000, 70_011])
def test_a_peer_that_stalls_is_left_to_the_long_way(at: int) -> None:
    wire, cut = in_sizes(LARGEST), len(REQUEST) + at

    began = time.monotonic()
    script = Script([wire[:cut], wire[cut:]], pause_s=0.4)
    ran = assert_as_by_the_long_way(script, within_s=0.05)

    assert (ran.end, ran.done) == (compiled.OTHERWISE, [])
    assert time.monotonic() - began < 5


def test_what_may_take_no_time_is_taken_if_it_is_here() -> None:
    # As much as lies in the socket while nobody reads.
    wire = REQUEST + p_data(pdv(CONTEXT_ID, LAST, slice_with()))
    with following(Script([wire])) as read:
        time.sleep(0.1)
        assert run(read, places=1, within_s=0.0).has_taken(1)


def test_what_came_before_the_long_way_gives_the_peer_time() -> None:
    """The large part comes late, and the rest so much later that it needs that time."""
    wire, cut = in_sizes(LARGEST, LARGEST, 40), len(REQUEST) + 2 * (LARGEST + 12)
    script = Script([REQUEST, wire[len(REQUEST) : cut], wire[cut : cut + 52]], pause_s=0.6)
    with following(script) as read:
        began, messages = time.monotonic(), MessageStream(read.layer, {CONTEXT_ID}, timeout_s=1.0)
        ran = run(read, within_s=0.8)
        assert ran.begun is not None
        messages.resume(CONTEXT_ID, ran.begun[0], ran.rest, ran.begun[1])
        messages.next_command()
        assert messages.read_into(memoryview(bytearray(1 << 20))) == 2 * LARGEST
        assert messages.read_into(memoryview(bytearray(1 << 20))) == 40
        assert time.monotonic() - began > 1.1


def test_a_resumed_value_may_be_the_largest_there_is() -> None:
    header = struct.pack(">BxIIBB", 4, MAX_PDU_BYTES, MAX_PDU_BYTES - 4, CONTEXT_ID, 0)
    wire = in_sizes(LARGEST)
    assert wire[len(REQUEST) :].startswith(header)

    for cut in (len(REQUEST) + 12, len(REQUEST) + 13, len(REQUEST) + 12 + 32_768):
        script = Script([wire[:cut], wire[cut:]], pause_s=0.2)
        ran = assert_as_by_the_long_way(script, within_s=0.02)
        assert (ran.end, ran.done) == (compiled.OTHERWISE, [])
