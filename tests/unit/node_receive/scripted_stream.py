"""A peer that sends the bytes of a script, and what is read of them by the long way."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from node.receive.association_ends import AssociationOver
from node.receive.message_stream import MessageStream
from node.receive.upper_layer import UpperLayer
from tests.peers.raw_dicom import (
    A_RELEASE_RQ,
    COMMAND,
    LAST,
    p_data,
    pdu,
    pdv,
    store_command,
)

CONTEXT_ID = 3
MAX_PDU_BYTES = 1 << 16
STORE = p_data(pdv(CONTEXT_ID, COMMAND | LAST, store_command("1.2.3.4.1")))
AFTERWARDS = (
    p_data(pdv(CONTEXT_ID, COMMAND | LAST, store_command("1.2.9")))
    + p_data(pdv(CONTEXT_ID, LAST, b"the next one"))
    + pdu(A_RELEASE_RQ)
)

End = tuple[str, object]


@dataclass
class Script:
    """What a peer sends before it closes its side, and how long it waits before each next piece."""

    pieces: list[bytes]
    pause_s: float = 0.0

    @property
    def wire(self) -> bytes:
        return b"".join(self.pieces)


@dataclass
class Reading:
    """Our end of a connection, where the command set of a C-STORE request has been read."""

    connection: socket.socket
    layer: UpperLayer
    messages: MessageStream
    answers: bytearray


@contextmanager
def reading(script: Script, timeout_s: float = 5) -> Iterator[Reading]:
    """Read what the script says; `answers` has what the peer heard when the block is left."""
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout_s)
    answers = bytearray()

    def send() -> None:
        with suppress(OSError):  # the reader has heard enough
            for number, piece in enumerate(script.pieces):
                if number and script.pause_s:
                    time.sleep(script.pause_s)
                theirs.sendall(piece)
            theirs.shutdown(socket.SHUT_WR)
            while heard := theirs.recv(1 << 16):
                answers.extend(heard)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    layer = UpperLayer(ours, max_pdu_bytes=MAX_PDU_BYTES, timeout_s=timeout_s)
    messages = MessageStream(layer, {CONTEXT_ID}, timeout_s=timeout_s)
    try:
        messages.next_command()
        yield Reading(ours, layer, messages, answers)
    finally:
        # To close it over bytes that nobody has read would tear our answers from the wire.
        with suppress(OSError):
            while ours.recv(1 << 16):
                pass
        ours.close()
        sender.join(10)
        theirs.close()
        assert not sender.is_alive()


def read_on(messages: MessageStream, memory: memoryview) -> tuple[bytes | None, End]:
    """Return the data set, None where it does not end, and how all ends that follows."""
    at = 0
    try:
        while at < len(memory) and (size := messages.read_into(memory[at:])):
            at += size
    except AssociationOver as over:
        return None, (type(over).__name__, over.abort)
    return bytes(memory[:at]), what_follows(messages)


def what_follows(messages: MessageStream) -> End:
    """Read messages to the end of the association."""
    heard: list[object] = []
    try:
        while len(heard) < 100:
            _, command = messages.next_command()
            heard.append((command.sop_instance_uid, b"".join(map(bytes, messages.data_set()))))
    except AssociationOver as over:
        return type(over).__name__, (over.abort, *heard)
    raise AssertionError("no end")


def by_the_long_way(wire: bytes) -> tuple[bytes | None, End]:
    """What is read of a wire where nobody takes a shorter way."""
    with reading(Script([wire])) as read:
        return read_on(read.messages, memoryview(bytearray(1 << 21)))


def in_values(data_set: bytes, sizes: list[int]) -> list[bytes]:
    """The data set in presentation data values of these sizes, again and again."""
    values, at = list[bytes](), 0
    while at < len(data_set) or not values:
        size = sizes[len(values) % len(sizes)]
        part = data_set[at : at + size]
        at += size
        values.append(pdv(CONTEXT_ID, LAST if at >= len(data_set) else 0, part))
    return values


def claimed(length: int) -> bytes:
    """The headers of a P-DATA-TF that says how long it is, and of its value that fits in."""
    sizes = length, (length - 4) % 2**32
    return struct.pack(">BxIIBB", 4, *sizes, CONTEXT_ID, 0)
