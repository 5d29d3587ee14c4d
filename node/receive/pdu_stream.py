"""PDUs from a connection, read into one buffer that is used again and again (PS3.8 9.3).

But for large values of P-DATA-TF PDUs: these are received at once where they are wanted.

A PDU is judged by its header, before a byte of its body is waited for: neither an announcement
of 4 GiB nor a type that does not exist costs memory or time.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from enum import IntEnum

from node.receive.association_ends import (
    AbortReason,
    NodeStops,
    PeerSilent,
    PeerVanished,
    ProtocolViolation,
)
from node.receive.gathered_blocks import WORTH_A_BLOCK_BYTES

HEADER_LENGTH = 6
WORTH_NO_COPY_BYTES = 1 << 15
"""A fragment so large is received where it is wanted: to copy it costs more than another call."""

_HEADER = struct.Struct(">BxI")
_SHORT_PDU_LENGTH = 4
_Headers = tuple[int, int, int, int, int]
ONE_VALUE = struct.Struct(">BxIIBB")
"""The headers of a P-DATA-TF PDU with one presentation data value (PS3.8 9.3.5)."""
_ONE_VALUE_LENGTH = ONE_VALUE.size
_one_value: Callable[[memoryview, int], _Headers] = ONE_VALUE.unpack_from
COMMAND = 0x01
LAST = 0x02
"""In a message control header (PS3.8 E.2): part of a command set, of its message the last."""
VALUE_OVERHEAD = 6
"""Bytes that a presentation data value has beside its fragment."""
_LENGTH_FIELD = 4
_LITTLE = 1 << 12


class PduType(IntEnum):
    """Types of PDU (PS3.8 9.3)."""

    A_ASSOCIATE_RQ = 1
    A_ASSOCIATE_AC = 2
    A_ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    A_RELEASE_RQ = 5
    A_RELEASE_RP = 6
    A_ABORT = 7


_KNOWN = frozenset(int(kind) for kind in PduType)
P_DATA_TF = int(PduType.P_DATA_TF)
_SHORT = frozenset({PduType.A_ASSOCIATE_RJ, PduType.A_RELEASE_RQ, PduType.A_RELEASE_RP, 7})


class PduStream:
    """Reads PDUs; the view that `read` returns is good until anything more is read.

    `longest` maps the types that may come with a body to the longest PDU-length of each.
    """

    def __init__(
        self, connection: socket.socket, *, longest: Mapping[int, int], timeout_s: float
    ) -> None:
        self._connection = connection
        self._longest = longest
        self._timeout_s = timeout_s
        self._buffer = memoryview(bytearray(2 * (longest[PduType.P_DATA_TF] + HEADER_LENGTH)))
        self._start = self._end = 0
        self.is_stopped = False
        self.longest_p_data = longest[PduType.P_DATA_TF]
        self._ahead = len(self._buffer)
        self._usual: _Headers = (0, 0, 0, 0, 0)

    def stop(self) -> None:
        """Have the reading thread raise `NodeStops` at once; called from another thread."""
        self.is_stopped = True
        try:
            # Not the method of an SSLSocket, which would take its keys from under the reader.
            socket.socket.shutdown(self._connection, socket.SHUT_RD)
        except OSError:
            return  # it is closed already

    def read(self) -> tuple[int, memoryview]:
        """Return type and body of the next PDU.

        Raises:
            PeerVanished, PeerSilent, NodeStops: none came.
            ProtocolViolation: there is no such PDU, or it is longer than was agreed.
        """
        if self.is_stopped:
            raise NodeStops
        if self._end - self._start < HEADER_LENGTH:
            self._fill(HEADER_LENGTH)
        kind, length = _HEADER.unpack_from(self._buffer, self._start)
        if length > self._longest.get(kind, -1):
            self._check(kind, length)
        if self._end - self._start < HEADER_LENGTH + length:
            self._fill(HEADER_LENGTH + length)
        body = self._start + HEADER_LENGTH
        self._start = end = body + length
        return kind, self._buffer[body:end]

    def read_values(self, memory: memoryview, context_id: int, until_s: float) -> tuple[int, int]:
        """Place the values of the next PDUs in `memory`, one behind the other, to a block's worth.

        As long as each is the only one of a large P-DATA-TF PDU, belongs to a data set on this
        presentation context and has room: most are and do. From `until_s` (of `time.monotonic`)
        on, one after another. Returns how many bytes, and the message control header of the last
        one; what was in `memory` behind them may be overwritten. 0 bytes: something else comes; it
        is left for `read`.

        Raises:
            PeerVanished, PeerSilent, NodeStops: it did not come.
        """
        if self.is_stopped:
            raise NodeStops
        buffer, at, room, last = self._buffer, 0, len(memory), 0
        while not last and at < WORTH_A_BLOCK_BYTES and (not at or time.monotonic() < until_s):
            start, end = self._start, self._end
            if start == end:
                start, end = 0, self._receive(buffer[: self._ahead])
                self._start, self._end = start, end
            begin = start + _ONE_VALUE_LENGTH
            if begin > end:
                break
            headers = _one_value(buffer, start)
            if headers != self._usual and not self._is_large(headers):
                break
            size = headers[1] - VALUE_OVERHEAD
            if headers[3] != context_id or size > room - at:
                break
            self._place(memory[at:], begin, size)
            at, last = at + size, headers[4] & LAST
        return at, last

    def take_ahead(self) -> bytes:
        """Hand over what was received ahead; the next bytes are the connection's."""
        ahead = bytes(self._buffer[self._start : self._end])
        self._start = self._end = 0
        return ahead

    def put_back(self, came: bytes) -> None:
        """Read these bytes first, and then from the connection; nothing was received ahead."""
        self._start, self._end = 0, len(came)
        self._buffer[: len(came)] = came

    def vanished(self) -> PeerVanished | NodeStops:
        """Return what it means that nothing more comes."""
        return NodeStops() if self.is_stopped else PeerVanished()

    def _is_large(self, headers: _Headers) -> bool:
        """Whether a PDU is a large one with one value of a data set; most are as the last one."""
        kind, length, value_length, _, control = headers
        if kind != P_DATA_TF or value_length != length - _LENGTH_FIELD or control & COMMAND:
            return False
        if not WORTH_NO_COPY_BYTES + VALUE_OVERHEAD <= length <= self.longest_p_data:
            return False
        self._usual = headers
        return True

    def _place(self, memory: memoryview, begin: int, size: int) -> None:
        """Place a value of `size` bytes that begins in the buffer; most of it is yet to come."""
        here = min(size, self._end - begin)
        memory[:here] = self._buffer[begin : begin + here]
        self._start = begin + here
        if here == size:
            return
        self._ahead = _LITTLE
        # The next PDU's header comes with the same call.
        most = size + _ONE_VALUE_LENGTH
        here += self._receive(memory[here:most])
        deadline = None
        while here < size:
            deadline = self._in_time(deadline)
            here += self._receive(memory[here:most])
        self._start, self._end = 0, here - size
        self._buffer[: self._end] = memory[size:here]

    def read_ahead(self) -> None:
        """From now on receive more than is asked for, until a large value comes."""
        self._ahead = len(self._buffer)

    def drain(self, deadline: float) -> None:
        """Read and forget, until the peer closes or `deadline` (of `time.monotonic`) has come.

        Raises:
            PeerVanished, PeerSilent, NodeStops: nothing more comes.
        """
        while time.monotonic() < deadline:
            self._receive(self._buffer)

    def _check(self, kind: int, length: int) -> None:
        """Judge a PDU that is not one of the longer types at a length that it may have."""
        if kind not in _KNOWN:
            raise ProtocolViolation(AbortReason.UNRECOGNISED_PDU)
        if kind in self._longest:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        if kind not in _SHORT:
            raise ProtocolViolation(AbortReason.UNEXPECTED_PDU)
        if length != _SHORT_PDU_LENGTH:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)

    def _fill(self, needed: int) -> None:
        """Read until `needed` bytes lie in the buffer; more, where more has come already."""
        self._make_room(needed)
        most = max(self._start + needed, self._end + self._ahead)
        # Where no byte is here, the first one may take its time.
        has_begun = 0 < self._end - self._start < HEADER_LENGTH
        deadline = self._in_time(None) if has_begun else None
        while True:
            self._end += self._receive(self._buffer[self._end : most])
            if self._end - self._start >= needed:
                return
            deadline = self._in_time(deadline)

    def _in_time(self, deadline: float | None) -> float:
        """Return until when the rest has to be here: what has begun may not drip."""
        now = time.monotonic()
        if deadline is None:
            return now + self._timeout_s
        if now > deadline:
            raise PeerSilent
        return deadline

    def _make_room(self, needed: int) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        if self._start + needed <= len(self._buffer):
            return
        left = bytes(self._buffer[self._start : self._end])
        if needed > len(self._buffer):
            self._buffer = memoryview(bytearray(needed))
        self._buffer[: len(left)] = left
        self._start, self._end = 0, len(left)

    def _receive(self, room: memoryview) -> int:
        try:
            received = self._connection.recv_into(room)
        except TimeoutError:
            raise PeerSilent from None
        except OSError:
            raise PeerVanished from None
        if self.is_stopped:
            raise NodeStops
        if received == 0:
            raise PeerVanished
        return received
