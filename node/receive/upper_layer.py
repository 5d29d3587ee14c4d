"""The DICOM upper layer of one accepted connection, as its acceptor (PS3.8 9.2).

Sta2   `associate_request`   the A-ASSOCIATE-RQ is due
Sta3   `accept`, `reject`    it has come, and is answered
Sta6   `next_pdv`, `read_into`, `send`    data transfer
Sta13  `await_close`         the peer is given a moment to close the connection
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time

from node.receive.association_ends import (
    SERVICE_USER,
    AbortReason,
    AssociationOver,
    PeerAborted,
    PeerReleased,
    PeerSilent,
    PeerVanished,
    ProtocolViolation,
    Rejected,
)
from node.receive.pdu_stream import (
    COMMAND,
    LAST,
    ONE_VALUE,
    P_DATA_TF,
    VALUE_OVERHEAD,
    WORTH_NO_COPY_BYTES,
    PduStream,
    PduType,
)

LONGEST_ASSOCIATE_RQ = 1 << 20
_ARTIM_S = 2.0

_PDV_HEADER = struct.Struct(">IBB")
_LENGTH_FIELD = 4
_ANSWER = struct.Struct(">BxIxBBB")

_NOTHING = memoryview(b"")

Pdv = tuple[int, int, memoryview]
"""Presentation context id, message control header, fragment."""


class UpperLayer:
    """One connection; used by one thread, but for `stop`."""

    def __init__(self, connection: socket.socket, *, max_pdu_bytes: int, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        longest: dict[int, int] = {
            PduType.P_DATA_TF: max_pdu_bytes,
            PduType.A_ASSOCIATE_RQ: LONGEST_ASSOCIATE_RQ,
        }
        self._stream = PduStream(connection, longest=longest, timeout_s=timeout_s)
        self._body = self._value = _NOTHING
        self._at = self._context_id = self._control = 0
        self._peer_max_pdu_bytes = 0
        self._has_said_last_word = False

    def stop(self) -> None:
        """End what the association's thread waits for; called from another thread."""
        self._stream.stop()

    def associate_request(self) -> bytes:
        """Wait for the A-ASSOCIATE-RQ (Sta2) and return its body.

        Raises:
            AssociationOver: something else came, or nothing.
        """
        try:
            kind, body = self._stream.read()
        except ProtocolViolation:
            kind, body = 0, memoryview(b"")
        if kind == PduType.A_ABORT:
            raise PeerAborted
        if kind != PduType.A_ASSOCIATE_RQ:
            raise _NoRequest
        return bytes(body)

    def accept(self, accept_pdu: bytes, peer_max_pdu_bytes: int) -> None:
        """Send the A-ASSOCIATE-AC; the peer takes PDUs of that size, 0: of any."""
        self._peer_max_pdu_bytes = peer_max_pdu_bytes
        self.send(accept_pdu)

    def reject(self, result: int, source: int, reason: int) -> None:
        """Send an A-ASSOCIATE-RJ (PS3.8 table 9-21); then `Rejected` is due."""
        self.send(_ANSWER.pack(PduType.A_ASSOCIATE_RJ, 4, result, source, reason))

    def next_pdv(self) -> Pdv:
        """Return the next presentation data value (PS3.8 9.3.5.1); good until the next call.

        Raises:
            AssociationOver: none came; `say_last_word` answers a release.
        """
        while self._at == len(self._body):
            self._next_p_data()
        body, at, size = self._body, self._at, len(self._body)
        if size - at < VALUE_OVERHEAD:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        length, context_id, control = _PDV_HEADER.unpack_from(body, at)
        end = at + _LENGTH_FIELD + length
        if length < 2 or end > size:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        self._at = end
        return context_id, control, body[at + VALUE_OVERHEAD : end]

    def read_into(
        self, memory: memoryview, context_id: int, until_s: float
    ) -> tuple[int, int, int]:
        """Place what comes next of a presentation data value in `memory`, as much as has room.

        Returns context id, message control header and how many bytes. What had no room comes with
        the next call; `LAST` is told with the last byte. Large values of a data set that is
        expected on `context_id` may come together, until `until_s` (of `time.monotonic`).

        Raises:
            AssociationOver: as by `next_pdv`.
        """
        if not self._value:
            if self._at == len(self._body):
                size, control = self._stream.read_values(memory, context_id, until_s)
                if size:
                    return context_id, control, size
            self._open_value()
        left, size = len(self._value), len(memory)
        if size >= left:
            memory[:left], self._value = self._value, _NOTHING
            return self._context_id, self._control, left
        memory[:], self._value = self._value[:size], self._value[size:]
        return self._context_id, self._control & ~LAST, size

    @property
    def plain_connection(self) -> socket.socket | None:
        """The connection, if its bytes are the peer's; None where they are encrypted."""
        return self._connection if type(self._connection) is socket.socket else None

    @property
    def longest_p_data(self) -> int:
        """The longest PDU-length of a P-DATA-TF PDU."""
        return self._stream.longest_p_data

    @property
    def is_between_pdus(self) -> bool:
        """Whether all of the PDUs that were read is used."""
        return not self._value and self._at == len(self._body)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is to be read."""
        return self._stream.is_stopped

    def fits(self, size: int) -> bool:
        """Whether the peer takes so many bytes of a command set in one PDU."""
        return not self._peer_max_pdu_bytes or size + VALUE_OVERHEAD <= self._peer_max_pdu_bytes

    def take_ahead(self) -> bytes:
        """Hand over what was received of the next PDUs; the rest is the connection's."""
        return self._stream.take_ahead()

    def put_back(self, came: bytes) -> None:
        """Read these bytes first: the begin of the next PDUs."""
        self._stream.put_back(came)

    def vanished(self) -> AssociationOver:
        """Return what it means that the connection is over."""
        return self._stream.vanished()

    def is_in_value(self) -> bool:
        """Whether a value has come of which `read_into` had no room for all."""
        return len(self._value) > 0

    def send_message(self, context_id: int, command: bytes, data_set: bytes | None = None) -> None:
        """Send a DIMSE message, in PDUs that the peer can take."""
        pdus = self.encoded(context_id, command)
        if data_set is not None:
            pdus += self._pdus(context_id, 0, data_set)
        self.send(pdus)

    def encoded(self, context_id: int, command: bytes) -> bytes:
        """Return a command set in PDUs that the peer can take."""
        return self._pdus(context_id, COMMAND, command)

    def send(self, content: bytes) -> None:
        """Send bytes.

        Raises:
            PeerVanished, PeerSilent: they could not be sent.
        """
        try:
            self._connection.sendall(content)
        except TimeoutError:
            raise PeerSilent from None
        except OSError:
            raise PeerVanished from None

    def say_last_word(self, over: AssociationOver) -> None:
        """Send the A-RELEASE-RP or A-ABORT of this end, if one belongs to it, and only once."""
        if self._has_said_last_word:
            return
        self._has_said_last_word = True
        with contextlib.suppress(AssociationOver):
            if isinstance(over, PeerReleased):
                self.send(_ANSWER.pack(PduType.A_RELEASE_RP, 4, 0, 0, 0))
            elif over.abort is not None:
                self._send_abort(*over.abort)

    def await_close(self, over: AssociationOver) -> None:
        """Give the peer a moment to close the connection (Sta13).

        To close it over bytes that nobody has read would tear our last word from the wire.
        """
        self._connection.settimeout(min(self._timeout_s, _ARTIM_S))
        deadline = time.monotonic() + _ARTIM_S
        with contextlib.suppress(AssociationOver):
            if isinstance(over, (PeerReleased, Rejected)):
                self._ignore_pdus(deadline)
            self._stream.drain(deadline)

    def _open_value(self) -> None:
        """Begin a value that lies in the stream's buffer."""
        self._context_id, self._control, self._value = self.next_pdv()
        if not self._control & LAST and len(self._value) < WORTH_NO_COPY_BYTES:
            # More of its kind will come.
            self._stream.read_ahead()

    def _next_p_data(self) -> None:
        kind, body = self._stream.read()
        if kind == P_DATA_TF and body:
            self._body, self._at = body, 0
        elif kind == P_DATA_TF:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        elif kind == PduType.A_RELEASE_RQ:
            raise PeerReleased
        elif kind == PduType.A_ABORT:
            raise PeerAborted
        else:
            raise ProtocolViolation(AbortReason.UNEXPECTED_PDU)

    def _pdus(self, context_id: int, control: int, content: bytes) -> bytes:
        size, most = len(content), self._peer_max_pdu_bytes
        if self.fits(size):
            return _p_data(context_id, control | LAST, content)
        step = max(most - VALUE_OVERHEAD, 1)
        parts = [content[at : at + step] for at in range(0, size, step)] or [b""]
        pdus = [_p_data(context_id, control, part) for part in parts[:-1]]
        return b"".join([*pdus, _p_data(context_id, control | LAST, parts[-1])])

    def _send_abort(self, source: int, reason: int) -> None:
        self.send(_ANSWER.pack(PduType.A_ABORT, 4, 0, source, reason))

    def _ignore_pdus(self, deadline: float) -> None:
        """Ignore what comes after the release, but for what is no PDU and for a request (AA-7)."""
        while time.monotonic() < deadline:
            try:
                kind, _ = self._stream.read()
            except ProtocolViolation:
                kind = PduType.A_ASSOCIATE_RQ
            if kind == PduType.A_ASSOCIATE_RQ:
                return self._send_abort(SERVICE_USER, 0)
            if kind == PduType.A_ABORT:
                return None
        return None


def _p_data(context_id: int, control: int, content: bytes) -> bytes:
    """Return a P-DATA-TF PDU with one value."""
    size = len(content)
    lengths = size + VALUE_OVERHEAD, size + 2
    return ONE_VALUE.pack(P_DATA_TF, *lengths, context_id, control) + content


class _NoRequest(AssociationOver):
    """Something else than an A-ASSOCIATE-RQ came first (AA-1)."""

    abort = (SERVICE_USER, 0)
