"""DIMSE command sets, as little of them as the receiver needs itself (PS3.7 6.3, 9.3, E).

A command set is Implicit VR Little Endian: tag, length, value. C-STORE and what no service
takes are read and answered here; the commands of services are left to pynetdicom.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

NO_DATA_SET = 0x0101
RESPONSE = 0x8000
UNRECOGNISED_OPERATION = 0x0211

_GROUP_LENGTH = 0x0000
_AFFECTED_SOP_CLASS_UID = 0x0002
_REQUESTED_SOP_CLASS_UID = 0x0003
_COMMAND_FIELD = 0x0100
MESSAGE_ID = 0x0110
MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
_COMMAND_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_ERROR_COMMENT = 0x0902
AFFECTED_SOP_INSTANCE_UID = 0x1000
_REQUESTED_SOP_INSTANCE_UID = 0x1001

_ELEMENT = struct.Struct("<HHI")
_HEADER_LENGTH = _ELEMENT.size
_US = struct.Struct("<H")
_UL_ELEMENT = struct.Struct("<HHII")
_FOUR_US_ELEMENTS = struct.Struct("<" + 4 * "HHIH")
LONGEST_UID = 64


class CommandField(IntEnum):
    """Requests that mean something to the receiver (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_GET_RQ = 0x0110
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140
    N_DELETE_RQ = 0x0150
    C_CANCEL_RQ = 0x0FFF


class InvalidCommandSet(ValueError):
    """Bytes that are no command set, or one without what every request has."""


class Command(NamedTuple):
    """A request; the UIDs are the bytes that came, without their padding."""

    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: bytes
    sop_instance_uid: bytes
    encoded: bytes


def read_command(encoded: bytes) -> Command:
    """Read the command set of a request.

    Raises:
        InvalidCommandSet: it is none.
    """
    elements = _elements(encoded)
    try:
        return Command(
            field=_number(elements[_COMMAND_FIELD]),
            message_id=_number(elements.get(MESSAGE_ID, b"\0\0")),
            has_data_set=_number(elements[_COMMAND_DATA_SET_TYPE]) != NO_DATA_SET,
            sop_class_uid=_uid(elements, _AFFECTED_SOP_CLASS_UID, _REQUESTED_SOP_CLASS_UID),
            sop_instance_uid=_uid(elements, AFFECTED_SOP_INSTANCE_UID, _REQUESTED_SOP_INSTANCE_UID),
            encoded=encoded,
        )
    except KeyError:
        raise InvalidCommandSet("an element that every request has is missing") from None


def response(command: Command, status: int, comment: str = "") -> bytes:
    """Return the command set of the response to a request: no data set, and a comment if given."""
    value = _FOUR_US_ELEMENTS.pack(
        *(0, _COMMAND_FIELD, 2, command.field | RESPONSE),
        *(0, MESSAGE_ID_BEING_RESPONDED_TO, 2, command.message_id),
        *(0, _COMMAND_DATA_SET_TYPE, 2, NO_DATA_SET),
        *(0, _STATUS, 2, status),
    )
    if comment:
        value += _text_element(_ERROR_COMMENT, comment.encode("ascii"), b" ")
    value = _text_element(_AFFECTED_SOP_CLASS_UID, command.sop_class_uid, b"\0") + value
    value += _text_element(AFFECTED_SOP_INSTANCE_UID, command.sop_instance_uid, b"\0")
    return _UL_ELEMENT.pack(0, _GROUP_LENGTH, 4, len(value)) + value


def places(encoded: bytes) -> dict[int, list[tuple[int, int]]]:
    """Return by element number of group 0000 where values begin and end.

    Raises:
        InvalidCommandSet: it is none.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    unpack, at, end = _ELEMENT.unpack_from, 0, len(encoded)
    while at < end:
        begin = at + _HEADER_LENGTH
        if begin > end:
            raise InvalidCommandSet("it ends in the middle of an element")
        group, element, length = unpack(encoded, at)
        at = begin + length
        if group != 0 or at > end:
            raise InvalidCommandSet("an element of another group, or longer than the rest")
        found.setdefault(element, []).append((begin, at))
    return found


def around(encoded: bytes, id_number: int, uid_number: int) -> tuple[bytes, bytes, bytes] | None:
    """Return what stands before, between and behind two values, of a Message ID and of a UID.

    None where they do not lie there once each, in that order.

    Raises:
        InvalidCommandSet: it is none.
    """
    found = places(encoded)
    ids, uids = found.get(id_number, []), found.get(uid_number, [])
    if len(ids) != 1 or len(uids) != 1:
        return None
    (id_at, id_end), (uid_at, uid_end) = ids[0], uids[0]
    if id_end - id_at != _US.size or id_end > uid_at or not 0 < uid_end - uid_at <= LONGEST_UID:
        return None
    return encoded[:id_at], encoded[id_end:uid_at], encoded[uid_end:]


def begins_with_group_length(encoded: bytes) -> bool:
    """Whether a command set begins with its length (0000,0000), and that is the right one."""
    length = len(encoded) - _UL_ELEMENT.size
    return encoded[: _UL_ELEMENT.size] == _UL_ELEMENT.pack(0, _GROUP_LENGTH, 4, max(length, 0))


def _elements(encoded: bytes) -> dict[int, bytes]:
    """Return the values of group 0000 by element number; of several, the last."""
    return {number: encoded[slice(*values[-1])] for number, values in places(encoded).items()}


def _number(value: bytes) -> int:
    if len(value) != _US.size:
        raise InvalidCommandSet("a number of another length than two bytes")
    return int(_US.unpack(value)[0])


def _uid(elements: dict[int, bytes], *numbers: int) -> bytes:
    """Return the first of these UIDs that is there; one longer than any UID is as good as none."""
    for number in numbers:
        value = elements.get(number, b"").rstrip(b"\0 ")
        if value:
            return value if len(value) <= LONGEST_UID else b""
    return b""


def _text_element(number: int, value: bytes, padding: bytes) -> bytes:
    if not value:
        return b""
    value += padding * (len(value) % 2)
    return _ELEMENT.pack(0, number, len(value)) + value
