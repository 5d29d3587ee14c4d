"""A storage SCU that sends any bytes: nothing is decoded, checked or corrected before it leaves.

Only what the standard demands of the wire itself is kept (PS3.8 9.3, PS3.7 6.3), so that
data sets, UIDs and AE titles may be as wrong as real ones are.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_IMPLEMENTATION_CLASS = b"1.2.826.0.1.3680043.10.1561.72"
_MAX_PDU_BYTES = 131072
_C_STORE, _C_ECHO = 0x0001, 0x0030
_HAS_DATA_SET, _NO_DATA_SET = 0x0001, 0x0101
_STATUS, _ERROR_COMMENT = 0x0900, 0x0902
_ACCEPT, _REJECT, _DATA, _RELEASE_RESPONSE, _ABORT = 2, 3, 4, 6, 7


class Ended(Exception):
    """The association ended before an answer: rejected, aborted, or the connection is gone."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's Status (0000,0900) and Error Comment (0000,0902)."""

    status: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One presentation context: an abstract syntax with its transfer syntaxes."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...] = (EXPLICIT_LITTLE_ENDIAN,)


class RawAssociation:
    """An association as a context manager; released at the end, if it still stands.

    `accepted` maps the number of a proposal (0, 1, ...) to the transfer syntax that was chosen,
    `answered_items` the kind of each user information item of the answer to its content;
    `user_items` go out beside our own (PS3.7 D.3.3; see `user_item`).

    Raises:
        Ended: from any method, when the other side ends it or does not answer in time.
    """

    def __init__(
        self,
        port: int,
        proposals: Sequence[Proposal],
        *,
        calling: str | bytes = "PACS",
        called: str | bytes = "RADNODE",
        user_items: bytes = b"",
        timeout_s: float = 30,
    ) -> None:
        titles = _title(called) + _title(calling)
        self._request = _associate_request(tuple(proposals), titles, user_items)
        self._place = ("127.0.0.1", port)
        self._timeout_s = timeout_s
        self._message_id = 0
        self._stands = False
        self.accepted: Mapping[int, str] = {}
        self.answered_items: Mapping[int, bytes] = {}

    def __enter__(self) -> RawAssociation:
        try:
            self._socket = socket.create_connection(self._place, self._timeout_s)
        except OSError as error:
            raise Ended("no connection") from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._write(self._request)
            answer = self._read_pdu(_ACCEPT)
            self.accepted = dict(_accepted(answer))
            self.answered_items = dict(_user_items(answer))
        except BaseException:
            self._socket.close()
            raise
        self._stands = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._stands and kind is None:
                self.release()
        finally:
            self._socket.close()

    def store(
        self,
        proposal: int,
        sop_class_uid: str | bytes,
        sop_instance_uid: str | bytes,
        data_set: bytes,
    ) -> Answer:
        """Send one C-STORE with these very bytes and return the answer to it."""
        elements = {
            0x0002: _uid(sop_class_uid),
            0x0100: _us(_C_STORE),
            0x0110: _us(self._next_message_id()),
            0x0700: _us(0),
            0x0800: _us(_HAS_DATA_SET),
            0x1000: _uid(sop_instance_uid),
        }
        self._write(_data_pdus(2 * proposal + 1, _command_set(elements), is_command=True))
        self._write(_data_pdus(2 * proposal + 1, data_set, is_command=False))
        return self._answer()

    def echo(self, proposal: int) -> Answer:
        """Send one C-ECHO and return the answer to it."""
        elements = {
            0x0002: _uid(VERIFICATION),
            0x0100: _us(_C_ECHO),
            0x0110: _us(self._next_message_id()),
            0x0800: _us(_NO_DATA_SET),
        }
        self._write(_data_pdus(2 * proposal + 1, _command_set(elements), is_command=True))
        return self._answer()

    def release(self) -> None:
        """Release the association and wait for the answer."""
        self._stands = False
        self._write(struct.pack(">BBL4x", 5, 0, 4))
        self._read_pdu(_RELEASE_RESPONSE)

    def drop(self) -> None:
        """Close the connection without a word."""
        self._stands = False
        self._socket.close()

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _answer(self) -> Answer:
        command = b""
        while True:
            body = self._read_pdu(_DATA)
            for is_last, fragment in _fragments(body):
                command += fragment
                if is_last:
                    return _parsed_answer(command)

    def _write(self, content: bytes) -> None:
        try:
            self._socket.sendall(content)
        except OSError as error:
            self._stands = False
            raise Ended("the connection is gone") from error

    def _read_pdu(self, wanted: int) -> bytes:
        kind, length = struct.unpack(">BxL", self._read(6))
        body = self._read(length)
        if kind == wanted:
            return body
        self._stands = False
        if kind == _REJECT:
            raise Ended("rejected: result {}, source {}, reason {}".format(*body[1:4]))
        if kind == _ABORT:
            raise Ended("aborted: source {}, reason {}".format(*body[2:4]))
        raise Ended(f"PDU of type {kind} instead of {wanted}")

    def _read(self, count: int) -> bytes:
        content = bytearray()
        try:
            while len(content) < count:
                if not (received := self._socket.recv(count - len(content))):
                    raise ConnectionError
                content += received
        except OSError as error:
            self._stands = False
            raise Ended("the connection is gone, or no answer in time") from error
        return bytes(content)


def _title(title: str | bytes) -> bytes:
    return (title if isinstance(title, bytes) else title.encode()).ljust(16)[:16]


def _uid(uid: str | bytes) -> bytes:
    raw = uid if isinstance(uid, bytes) else uid.encode()
    return raw + b"\0" * (len(raw) % 2)


def _us(value: int) -> bytes:
    return struct.pack("<H", value)


def user_item(kind: int, content: bytes) -> bytes:
    """Encode an item or sub-item of an association request (PS3.8 9.3.2)."""
    return struct.pack(">BxH", kind, len(content)) + content


def _associate_request(proposals: Sequence[Proposal], titles: bytes, user_items: bytes) -> bytes:
    items = user_item(0x10, _APPLICATION_CONTEXT)
    for number, proposal in enumerate(proposals):
        syntaxes = b"".join(user_item(0x40, uid.encode()) for uid in proposal.transfer_syntaxes)
        abstract_syntax = user_item(0x30, proposal.abstract_syntax.encode())
        context = struct.pack("B3x", 2 * number + 1) + abstract_syntax
        items += user_item(0x20, context + syntaxes)
    user = user_item(0x51, struct.pack(">L", _MAX_PDU_BYTES))
    user += user_item(0x52, _IMPLEMENTATION_CLASS)
    items += user_item(0x50, user + user_items)
    body = struct.pack(">H2x", 1) + titles + b"\0" * 32 + items
    return struct.pack(">BxL", 1, len(body)) + body


def _accepted(body: bytes) -> Iterator[tuple[int, str]]:
    for kind, content in _items(body[68:]):
        if kind == 0x21 and content[2] == 0:
            _, transfer_syntax = next(_items(content[4:]))
            yield (content[0] - 1) // 2, transfer_syntax.decode()


def _user_items(body: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, content in _items(body[68:]):
        if kind == 0x50:
            yield from _items(content)


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        kind, length = struct.unpack_from(">BxH", content)
        yield kind, content[4 : 4 + length]
        content = content[4 + length :]


def _command_set(elements: Mapping[int, bytes]) -> bytes:
    """Encode a command set (PS3.7 6.3.1: Implicit VR Little Endian, with its group length)."""
    content = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements.items()
    )
    return struct.pack("<HHLL", 0, 0, 4, len(content)) + content


def _data_pdus(context_id: int, content: bytes, *, is_command: bool) -> bytes:
    room = _MAX_PDU_BYTES - 6
    pdus = bytearray()
    for start in range(0, max(len(content), 1), room):
        fragment = content[start : start + room]
        is_last = start + room >= len(content)
        header = is_command | is_last << 1
        value = struct.pack(">LBB", len(fragment) + 2, context_id, header) + fragment
        pdus += struct.pack(">BxL", _DATA, len(value)) + value
    return bytes(pdus)


def _fragments(body: bytes) -> Iterator[tuple[bool, bytes]]:
    while body:
        (length,) = struct.unpack_from(">L", body)
        yield bool(body[5] & 2), body[6 : 4 + length]
        body = body[4 + length :]


def _parsed_answer(command: bytes) -> Answer:
    elements = {}
    while command:
        _, element, length = struct.unpack_from("<HHL", command)
        elements[element] = command[8 : 8 + length]
        command = command[8 + length :]
    (status,) = struct.unpack("<H", elements[_STATUS])
    comment = elements.get(_ERROR_COMMENT, b"").decode("ascii", "replace").strip()
    return Answer(status, comment)
