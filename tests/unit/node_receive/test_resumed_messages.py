"""A message that somebody else has begun to read goes on as if nobody had."""

from __future__ import annotations

import time

import pytest

from node.receive.association_ends import PeerSilent
from node.receive.message_stream import QUICK_S, MessageStream
from node.receive.upper_layer import UpperLayer
from tests.peers.raw_dicom import A_RELEASE_RQ, LAST, p_data, pdu, pdv, store_command
from tests.unit.node_receive.like_kinds import command
from tests.unit.node_receive.run_taking import following, messages_of
from tests.unit.node_receive.scripted_stream import CONTEXT_ID, Script

ENCODED = store_command("1.2.3", message_id=7)
BEHIND = command("1.2.4", 8) + p_data(pdv(CONTEXT_ID, LAST, b"other")) + pdu(A_RELEASE_RQ)


@pytest.mark.parametrize("given", [0, 4, 70_000])
@pytest.mark.parametrize("ahead", [0, 5, 20])
def test_what_was_read_comes_first_and_then_the_rest_of_it(given: int, ahead: int) -> None:
    wire = p_data(pdv(CONTEXT_ID, LAST, b"the rest")) + BEHIND
    memory = memoryview(bytearray(1 << 17))
    memory[:given] = b"x" * given
    with following(Script([wire[ahead:]])) as read:
        # What was received ahead is handed over first.
        came = wire[:ahead] + read.layer.take_ahead()
        read.messages.resume(CONTEXT_ID, ENCODED, came, given)
        assert read.messages.is_in_message
        heard, end = messages_of(read.messages, memory, 0)

    assert end[0] == "PeerReleased"
    assert [(each.message_id, each.sop_instance_uid, content) for each, content in heard] == [
        (7, b"1.2.3", b"x" * given + b"the rest"),
        (8, b"1.2.4", b"other"),
    ]


def test_a_peer_that_drips_a_resumed_message_is_silent_in_time() -> None:
    drip = p_data(pdv(CONTEXT_ID, 0, b"x"))
    with following(Script([drip] * 30, pause_s=0.05)) as read:
        messages = MessageStream(read.layer, {CONTEXT_ID}, timeout_s=0.3)
        messages.resume(CONTEXT_ID, ENCODED, read.layer.take_ahead(), 10)
        messages.next_command()
        memory, began = memoryview(bytearray(1000)), time.monotonic()
        with pytest.raises(PeerSilent):
            _read_all(messages, memory)
        assert time.monotonic() - began < 1.2


def test_a_run_has_no_more_time_than_the_association_gives() -> None:
    with following(Script([BEHIND])) as read:
        layer: UpperLayer = read.layer
        assert MessageStream(layer, {CONTEXT_ID}, timeout_s=0.2).quick_s == 0.2
        assert MessageStream(layer, {CONTEXT_ID}, timeout_s=60).quick_s == QUICK_S


def _read_all(messages: MessageStream, memory: memoryview) -> None:
    while messages.read_into(memory):
        pass
