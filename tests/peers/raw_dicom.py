"""A DICOM peer that sends the very bytes it is told to, right or wrong, and shows what comes back.

It builds PDUs by hand (PS3.8 9.3), so that nothing here corrects what a test means to be wrong.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF = 1, 2, 3, 4
A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = 5, 6, 7

COMMAND, DATA, LAST = 0x01, 0x00, 0x02
NO_DATA_SET, WITH_DATA_SET = 0x0101, 0x0000

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ, C_FIND_RQ = 0x0001, 0x0030, 0x0FFF, 0x0020
N_EVENT_REPORT_RQ, N_ACTION_RQ, N_CREATE_RQ = 0x0100, 0x0130, 0x0140

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def pdu(kind: int, body: bytes = b"\0\0\0\0", *, length: int | None = None) -> bytes:
    """A PDU; `length` lies about the body where it is given."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind: int, body: bytes) -> bytes:
    """An item or sub-item of an association request."""
    return struct.pack(">BxH", kind, len(body)) + body


def pdv(context_id: int, control: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """A presentation data value item; `length` lies about it where it is given."""
    return (
        struct.pack(">IBB", len(value) + 2 if length is None else length, context_id, control)
        + value
    )


def p_data(*pdvs: bytes) -> bytes:
    """A P-DATA-TF of these items."""
    return pdu(P_DATA_TF, b"".join(pdvs))


def context(context_id: int, abstract_syntax: str, *transfer_syntaxes: str) -> bytes:
    """A presentation context item."""
    syntaxes = b"".join(item(0x40, uid.encode()) for uid in transfer_syntaxes)
    body = bytes([context_id, 0, 0, 0]) + item(0x30, abstract_syntax.encode()) + syntaxes
    return item(0x20, body)


def role(sop_class_uid: str, *, scu: bool, scp: bool) -> bytes:
    """An SCP/SCU role selection sub-item (PS3.7 D.3.3.4)."""
    uid = sop_class_uid.encode()
    return item(0x54, struct.pack(">H", len(uid)) + uid + bytes([scu, scp]))


DEFAULT_CONTEXTS = (
    context(1, VERIFICATION, IMPLICIT),
    context(3, MR_IMAGE, EXPLICIT),
    context(5, MR_IMAGE, IMPLICIT),
)


def associate_request(
    contexts: Iterable[bytes] = DEFAULT_CONTEXTS,
    *,
    called: bytes = b"RADNODE",
    calling: bytes = b"PACS",
    version: int = 1,
    application_context: str = APPLICATION_CONTEXT,
    max_pdu_bytes: int = 16384,
    roles: Sequence[bytes] = (),
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    user_information = item(0x51, struct.pack(">I", max_pdu_bytes)) + item(0x52, b"1.2.3")
    body = struct.pack(">HH16s16s32x", version, 0, called.ljust(16), calling.ljust(16))
    body += item(0x10, application_context.encode())
    body += b"".join(contexts) + item(0x50, user_information + b"".join(roles))
    return pdu(A_ASSOCIATE_RQ, body)


def element(number: int, value: bytes) -> bytes:
    """An element of a command set."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def uid_value(uid: str) -> bytes:
    """A UID with its padding."""
    return uid.encode() + b"\0" * (len(uid) % 2)


def command_set(
    field: int,
    *,
    message_id: int = 1,
    sop_class: str = MR_IMAGE,
    sop_instance: str | None = None,
    data_set: int = NO_DATA_SET,
    more: bytes = b"",
) -> bytes:
    """A command set; `more` are the elements after Affected SOP Instance UID (0000,1000)."""
    body = element(0x0002, uid_value(sop_class))
    body += element(0x0100, struct.pack("<H", field))
    body += element(0x0110, struct.pack("<H", message_id))
    if field == C_STORE_RQ:
        body += element(0x0700, struct.pack("<H", 2))
    body += element(0x0800, struct.pack("<H", data_set))
    if sop_instance is not None:
        body += element(0x1000, uid_value(sop_instance))
    body += more
    return element(0x0000, struct.pack("<I", len(body))) + body


def store_command(sop_instance: str, *, message_id: int = 1, sop_class: str = MR_IMAGE) -> bytes:
    """The command set of a C-STORE-RQ."""
    return command_set(
        C_STORE_RQ,
        message_id=message_id,
        sop_class=sop_class,
        sop_instance=sop_instance,
        data_set=WITH_DATA_SET,
    )


@dataclass(frozen=True)
class Reply:
    """A DIMSE response: its command set by element number, and its data set."""

    context_id: int
    command: dict[int, bytes]
    data_set: bytes

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return int.from_bytes(self.command[0x0900], "little")

    @property
    def message_id(self) -> int:
        """Message ID Being Responded To (0000,0120)."""
        return int.from_bytes(self.command[0x0120], "little")


class RawPeer:
    """A connection to 127.0.0.1; a `with` block closes it."""

    def __init__(self, port: int, timeout_s: float = 20) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self.connection.sendall(b"".join(parts))

    def receive(self) -> tuple[int, bytes] | None:
        """Return type and body of the next PDU, or None at the end of the connection."""
        head = self._exactly(6)
        if head is None:
            return None
        kind, length = struct.unpack(">BxI", head)
        body = self._exactly(length)
        return None if body is None else (kind, body)

    def associate(self, request: bytes | None = None) -> bytes:
        """Open an association and return the body of the A-ASSOCIATE-AC."""
        self.send(request or associate_request())
        answer = self.receive()
        assert answer is not None
        assert answer[0] == A_ASSOCIATE_AC, answer
        return answer[1]

    def reply(self) -> Reply:
        """Return the next DIMSE message that comes."""
        parts = {COMMAND: b"", DATA: b""}
        context_id, expected = 0, COMMAND
        while True:
            answer = self.receive()
            assert answer is not None
            assert answer[0] == P_DATA_TF, answer
            for context_id, control, value in split_pdvs(answer[1]):
                parts[control & COMMAND] += value
                if control & LAST and control & COMMAND:
                    command = split_command(parts[COMMAND])
                    expected = int.from_bytes(command[0x0800], "little")
                if control & LAST and (not control & COMMAND or expected == NO_DATA_SET):
                    return Reply(context_id, command, parts[DATA])

    def store(self, context_id: int, sop_instance: str, data_set: bytes) -> int:
        """Store an instance in the plainest way and return the status."""
        self.send(
            p_data(pdv(context_id, COMMAND | LAST, store_command(sop_instance))),
            p_data(pdv(context_id, DATA | LAST, data_set)),
        )
        return self.reply().status

    def release(self) -> None:
        """Release the association; the answer must be right."""
        self.send(pdu(A_RELEASE_RQ))
        assert self.receive() == (A_RELEASE_RP, bytes(4))

    def abort_reason(self) -> tuple[int, int]:
        """Wait for an A-ABORT and the end, and return source and reason."""
        answer = self.receive()
        while answer is not None and answer[0] == P_DATA_TF:
            answer = self.receive()
        assert answer is not None, "closed without an A-ABORT"
        assert answer[0] == A_ABORT, answer
        return answer[1][2], answer[1][3]

    def _exactly(self, count: int) -> bytes | None:
        content = b""
        while len(content) < count:
            try:
                part = self.connection.recv(count - len(content))
            except ConnectionError:
                return None
            if not part:
                return None
            content += part
        return content


def split_pdvs(body: bytes) -> list[tuple[int, int, bytes]]:
    """Split the body of a P-DATA-TF into context, control header and value."""
    found = []
    while body:
        length, context_id, control = struct.unpack_from(">IBB", body)
        found.append((context_id, control, body[6 : 4 + length]))
        body = body[4 + length :]
    return found


def split_command(content: bytes) -> dict[int, bytes]:
    """Split a command set into values by element number."""
    found = {}
    while content:
        group, number, length = struct.unpack_from("<HHI", content)
        assert group == 0
        found[number] = content[8 : 8 + length]
        content = content[8 + length :]
    return found


def accepted_contexts(accept_body: bytes) -> dict[int, int]:
    """Return the result of each presentation context of an A-ASSOCIATE-AC by its id."""
    return {body[0]: body[2] for kind, body in _items(accept_body[68:]) if kind == 0x21}


def accepted_roles(accept_body: bytes) -> dict[str, tuple[int, int]]:
    """Return the (SCU, SCP) roles that an A-ASSOCIATE-AC grants, by SOP Class UID."""
    (user_information,) = (body for kind, body in _items(accept_body[68:]) if kind == 0x50)
    granted = {}
    for kind, body in _items(user_information):
        if kind == 0x54:
            granted[body[2:-2].decode()] = (body[-2], body[-1])
    return granted


def _items(content: bytes) -> list[tuple[int, bytes]]:
    found = []
    while content:
        kind, length = struct.unpack_from(">BxH", content)
        found.append((kind, content[4 : 4 + length]))
        content = content[4 + length :]
    return found
