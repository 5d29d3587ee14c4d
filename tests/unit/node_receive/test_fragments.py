"""Fragments come out as they went in, however they were cut, sent and asked for."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.receive.association_ends import (
    AssociationOver,
    PeerReleased,
    PeerSilent,
    PeerVanished,
    ProtocolViolation,
)
from node.receive.gathered_blocks import WORTH_A_BLOCK_BYTES
from node.receive.message_stream import MessageStream
from node.receive.pdu_stream import COMMAND, LAST, WORTH_NO_COPY_BYTES
from node.receive.upper_layer import UpperLayer

_MAX_PDU_BYTES = 1 << 17
_CONTEXT_ID = 3
_SOURCE = bytes(range(251)) * 6000
_RELEASE = struct.pack(">BxII", 5, 4, 0)
_EDGES = [WORTH_NO_COPY_BYTES + change for change in (-6, -1, 0, 1)]
_LARGEST = _MAX_PDU_BYTES - 6

_LENGTHS = st.lists(
    st.one_of(
        st.integers(0, 40),
        st.integers(0, _LARGEST),
        st.sampled_from([*_EDGES, _LARGEST, _LARGEST]),
    ),
    min_size=1,
    max_size=10,
)


def _value(content: bytes, control: int, context_id: int = _CONTEXT_ID) -> bytes:
    return struct.pack(">IBB", len(content) + 2, context_id, control) + content


def _pdu(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxI", 4, len(body)) + body


def _command() -> bytes:
    elements = [(0x0100, b"\1\0"), (0x0800, b"\0\0"), (0x1000, b"1.2\0")]
    return b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements
    )


def _data_values(lengths: list[int]) -> list[bytes]:
    at, values = 0, []
    for number, length in enumerate(lengths, 1):
        control = LAST if number == len(lengths) else 0
        values.append(_value(_SOURCE[at : at + length], control))
        at += length
    return values


@contextmanager
def _reading(wire: bytes, cuts: list[int], timeout_s: float = 5) -> Iterator[MessageStream]:
    """Messages of a peer that sends `wire` in pieces and then closes the connection."""
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout_s)

    def send() -> None:
        at = 0
        with theirs, suppress(OSError):  # the reader has heard enough
            for size in [*cuts, len(wire)]:
                theirs.sendall(wire[at : at + size])
                at += size

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    layer = UpperLayer(ours, max_pdu_bytes=_MAX_PDU_BYTES, timeout_s=timeout_s)
    try:
        yield MessageStream(layer, {_CONTEXT_ID}, timeout_s=timeout_s)
    finally:
        ours.close()
        sender.join(10)


def _read(messages: MessageStream, rooms: list[int]) -> bytes:
    """Read a data set into a memory that is filled from end to end, as the gathering one is."""
    messages.next_command()
    memory, at, turn = memoryview(bytearray(2 << 20)), 0, 0
    while size := messages.read_into(memory[at : at + rooms[turn % len(rooms)]]):
        at += size
        turn += 1
    return bytes(memory[:at])


_ROOMS = st.lists(
    st.one_of(st.integers(1, 1 << 18), st.just(1 << 20), st.sampled_from(_EDGES)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(_LENGTHS, _ROOMS, st.lists(st.integers(1, 1 << 17), max_size=8), st.data())
def test_a_data_set_is_what_was_sent(
    lengths: list[int], rooms: list[int], cuts: list[int], data: st.DataObject
) -> None:
    values, pdus = _data_values(lengths), [_pdu(_value(_command(), COMMAND | LAST))]
    while values:
        count = data.draw(st.integers(1, min(3, len(values))))
        body, values = values[:count], values[count:]
        fits = sum(map(len, body)) <= _MAX_PDU_BYTES
        pdus += [_pdu(*body)] if fits else [_pdu(value) for value in body]
    wire = b"".join([*pdus, *pdus, _RELEASE])
    with _reading(wire, cuts) as messages:
        for _ in range(2):
            if sum(lengths) // min(rooms) < 5000:
                assert _read(messages, rooms) == _SOURCE[: sum(lengths)]
            else:
                assert _read(messages, [1 << 20]) == _SOURCE[: sum(lengths)]
            assert not messages.is_in_message
        with pytest.raises(PeerReleased):
            messages.next_command()


def test_a_command_and_its_data_set_may_share_a_pdu_as_far_as_they_like() -> None:
    first, *rest = _data_values([20, _LARGEST, 30])
    wire = _pdu(_value(_command(), COMMAND | LAST), first) + b"".join(map(_pdu, rest)) + _RELEASE
    with _reading(wire, []) as messages:
        assert _read(messages, [1 << 20]) == _SOURCE[: 50 + _LARGEST]


def _outcome_after_command(wire: bytes, timeout_s: float = 5) -> AssociationOver:
    with _reading(_pdu(_value(_command(), COMMAND | LAST)) + wire, [], timeout_s) as messages:
        with pytest.raises(AssociationOver) as caught:
            _read(messages, [1 << 20])
        return caught.value


def test_a_large_value_of_another_message_ends_the_association() -> None:
    large = bytes(_LARGEST)
    for value in (_value(large, 0, context_id=5), _value(large, COMMAND)):
        assert isinstance(_outcome_after_command(_pdu(value)), ProtocolViolation)


def test_a_large_pdu_whose_value_does_not_end_with_it_ends_the_association() -> None:
    for said in (_LARGEST - 10, _LARGEST + 10, 1 << 31):
        pdu = bytearray(_pdu(_value(bytes(_LARGEST), 0)))
        pdu[6:10] = struct.pack(">I", said)
        assert isinstance(_outcome_after_command(bytes(pdu)), ProtocolViolation)


def test_a_pdu_longer_than_agreed_is_not_waited_for() -> None:
    header = struct.pack(">BxIIBB", 4, _MAX_PDU_BYTES + 1, _MAX_PDU_BYTES - 3, _CONTEXT_ID, 0)
    assert isinstance(_outcome_after_command(header), ProtocolViolation)


def test_a_peer_that_goes_in_the_middle_of_a_large_value_has_vanished() -> None:
    pdu = _pdu(_value(bytes(_LARGEST), 0))
    for length in (5, 6, 11, 12, 13, 5000, len(pdu) - 1):
        assert isinstance(_outcome_after_command(pdu[:length]), PeerVanished)


def test_a_large_value_must_not_drip() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.3)
    layer = UpperLayer(ours, max_pdu_bytes=_MAX_PDU_BYTES, timeout_s=0.3)
    messages = MessageStream(layer, {_CONTEXT_ID}, timeout_s=0.3)
    ended = threading.Event()

    def drip() -> None:
        theirs.sendall(
            _pdu(_value(_command(), COMMAND | LAST)) + _pdu(_value(bytes(_LARGEST), 0))[:99]
        )
        while not ended.wait(0.05):
            theirs.sendall(b"\0")

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    try:
        with pytest.raises(PeerSilent):
            _read(messages, [1 << 20])
    finally:
        ended.set()
        dripping.join(10)
        ours.close()
        theirs.close()


def test_a_value_that_has_come_is_not_missed_because_its_end_had_no_room() -> None:
    """What is read late, because we were busy, does not make the peer a silent one."""
    values = _data_values([_LARGEST, _LARGEST])
    wire = b"".join(map(_pdu, [_value(_command(), COMMAND | LAST), *values]))
    with _reading(wire, [], timeout_s=0.2) as messages:
        messages.next_command()
        time.sleep(0.3)
        memory, read = memoryview(bytearray(_LARGEST)), b""
        for room in (3000, _LARGEST, 3000, _LARGEST):
            size = messages.read_into(memory[:room])
            read += memory[:size]
        assert read == _SOURCE[: 2 * _LARGEST]


def _sizes(messages: MessageStream) -> list[int]:
    """How many bytes come with each reading, where there is room for all."""
    messages.next_command()
    memory = memoryview(bytearray(1 << 20))
    return list(iter(lambda: messages.read_into(memory), 0))


def test_large_values_that_come_quickly_are_received_together_and_a_blocks_worth_at_most() -> None:
    lengths = [40_000] * 11 + [39_000]
    values = [_value(_command(), COMMAND | LAST), *_data_values(lengths)]
    with _reading(b"".join(map(_pdu, values)), []) as messages:
        sizes = _sizes(messages)
    assert sum(sizes) == sum(lengths)
    assert max(sizes) < WORTH_A_BLOCK_BYTES + 40_000
    assert len(sizes) <= 4


def test_of_a_data_set_that_comes_slowly_values_are_not_waited_for_together() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    layer = UpperLayer(ours, max_pdu_bytes=_MAX_PDU_BYTES, timeout_s=10)
    messages = MessageStream(layer, {_CONTEXT_ID}, timeout_s=10)

    def send() -> None:
        theirs.sendall(_pdu(_value(_command(), COMMAND | LAST)))
        for value in _data_values([32_768] * 6):
            theirs.sendall(_pdu(value))
            time.sleep(0.45)

    with ours, theirs:
        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        sizes = _sizes(messages)
        sending.join(10)
    assert sum(sizes) == 6 * 32_768
    assert sizes[-2:] == [32_768] * 2


def test_values_that_look_alike_on_another_context_or_in_a_command_end_the_association() -> None:
    usual = _pdu(_value(bytes(_LARGEST), 0))
    for value in (_value(bytes(_LARGEST), 0, context_id=5), _value(bytes(_LARGEST), COMMAND)):
        assert isinstance(_outcome_after_command(usual + usual + _pdu(value)), ProtocolViolation)


def test_a_header_that_has_begun_must_not_drip() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(1)
    layer = UpperLayer(ours, max_pdu_bytes=_MAX_PDU_BYTES, timeout_s=1)
    messages = MessageStream(layer, {_CONTEXT_ID}, timeout_s=60)
    ended, sent = threading.Event(), list[int]()

    def drip() -> None:
        theirs.sendall(_pdu(_value(_command(), COMMAND | LAST)))
        for byte in _pdu(_value(bytes(_LARGEST), 0)):
            sent.append(theirs.send(bytes([byte])))
            if ended.wait(0.4):
                return

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    try:
        with pytest.raises(PeerSilent):
            _read(messages, [1 << 20])
        assert len(sent) <= 4
    finally:
        ended.set()
        dripping.join(10)
        ours.close()
        theirs.close()


@pytest.mark.parametrize("most", [0, 3, 7, 30, _MAX_PDU_BYTES])
@pytest.mark.parametrize("length", [0, 1, 2, 24, 100])
def test_an_answer_comes_in_pdus_that_the_peer_can_take(most: int, length: int) -> None:
    ours, theirs = socket.socketpair()
    layer = UpperLayer(ours, max_pdu_bytes=_MAX_PDU_BYTES, timeout_s=5)
    layer.accept(b"", most)
    layer.send_message(_CONTEXT_ID, _SOURCE[:9], _SOURCE[:length])
    ours.close()
    with theirs:
        wire = b"".join(iter(lambda: theirs.recv(1 << 16), b""))
    came = {COMMAND: b"", 0: b""}
    while wire:
        size = 6 + struct.unpack_from(">I", wire, 2)[0]
        assert most == 0 or size - 6 <= max(most, 7)
        came[wire[11] & COMMAND] += wire[12:size]
        last, wire = wire[11], wire[size:]
    assert came == {COMMAND: _SOURCE[:9], 0: _SOURCE[:length]}
    assert last == LAST
