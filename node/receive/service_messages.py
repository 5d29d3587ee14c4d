"""Requests of the rare services: collected in memory, decoded and answered by pynetdicom's classes.

A request that a service cannot be given is answered all the same (PS3.7 C): the association of
a sender that asks for something odd goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pynetdicom import dimse_messages
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu_primitives import P_DATA

from node.receive.admission import Caller
from node.receive.command_set import Command, CommandField, response
from node.receive.deflated_structure import walk_over
from node.receive.dimse_status import StoreRefused
from node.receive.element_headers import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from node.receive.negotiation import AcceptedContext
from node.receive.parse_errors import PARSE_ERRORS
from node.receive.services import Service, ServiceAnswer, ServiceRequest

PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT_VALUE = 0x0115
UNRECOGNISED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213

_LARGEST_DATA_SET = 16 << 20
_ANY_CONTEXT = 1
_LAST_COMMAND, _LAST_DATA = b"\x03", b"\x02"
_OPERATIONS = {
    CommandField.C_ECHO_RQ: "C_ECHO",
    CommandField.N_EVENT_REPORT_RQ: "N_EVENT_REPORT",
    CommandField.N_GET_RQ: "N_GET",
    CommandField.N_SET_RQ: "N_SET",
    CommandField.N_ACTION_RQ: "N_ACTION",
    CommandField.N_CREATE_RQ: "N_CREATE",
    CommandField.N_DELETE_RQ: "N_DELETE",
}
_REQUEST_DATA = ("ActionInformation", "EventInformation", "AttributeList", "ModificationList")
_REPLY_DATA = {
    "N_ACTION": "ActionReply",
    "N_EVENT_REPORT": "EventReply",
    "N_GET": "AttributeList",
    "N_SET": "AttributeList",
    "N_CREATE": "AttributeList",
}
_REPEATED = ("ActionTypeID", "EventTypeID")

_log = structlog.get_logger()

Reply = tuple[bytes, bytes | None, ServiceAnswer | None]
"""Command set, data set, and the answer it was made of."""


class ServiceDesk:
    """Gives each request to the service of its SOP Class; one object serves all threads."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services

    def serves(self, abstract_syntax: str) -> bool:
        """Whether a service, and not storage, takes messages of this abstract syntax."""
        return abstract_syntax in self._services

    def reply(
        self,
        command: Command,
        context: AcceptedContext,
        caller: Caller,
        data_set: Iterable[memoryview],
    ) -> Reply:
        """Return the answer to one request, whose data set is read to its end.

        Raises:
            AssociationOver: it ended before the data set did.
        """
        content = _collected(data_set)
        service = self._services.get(context.abstract_syntax)
        operation = _OPERATIONS.get(CommandField(command.field)) if _is_known(command) else None
        if service is None or operation is None:
            return response(command, UNRECOGNISED_OPERATION), None, None
        if content is None:
            return response(command, RESOURCE_LIMITATION), None, None
        try:
            request = _request(command, context, caller, content)
        except (*PARSE_ERRORS, OSError, StoreRefused):
            return response(command, INVALID_ARGUMENT_VALUE), None, None
        answer = _answer(service, request)
        try:
            return *_encoded(request.message, operation, answer, context), answer
        except PARSE_ERRORS:
            _log.error("answer_not_encoded", operation=operation, exc_info=True)
            return response(command, PROCESSING_FAILURE), None, None


def _is_known(command: Command) -> bool:
    return command.field in _OPERATIONS


def _collected(data_set: Iterable[memoryview]) -> bytes | None:
    """Return a data set; None for one that is too large, which is read all the same."""
    content = bytearray()
    for fragment in data_set:
        if len(content) <= _LARGEST_DATA_SET:
            content += fragment
    return bytes(content) if len(content) <= _LARGEST_DATA_SET else None


def _request(
    command: Command, context: AcceptedContext, caller: Caller, content: bytes
) -> ServiceRequest:
    values = P_DATA()
    values.presentation_data_value_list = [[_ANY_CONTEXT, _LAST_COMMAND + command.encoded]]
    if command.has_data_set:
        values.presentation_data_value_list.append([_ANY_CONTEXT, _LAST_DATA + content])
    message = dimse_messages.DIMSEMessage()
    if not message.decode_msg(values):
        raise ValueError("the message has no end")
    primitive = message.message_to_primitive()
    if not primitive.is_valid_request:
        raise ValueError("a parameter that the request must have is missing")
    encoded = _request_data(primitive)
    return ServiceRequest(caller, primitive, _decoded(encoded, context) if encoded else None)


def _request_data(primitive: Any) -> bytes:
    for name in _REQUEST_DATA:
        stream: BytesIO | None = getattr(primitive, name, None)
        if stream is not None:
            return stream.getvalue()
    return b""


def _decoded(encoded: bytes, context: AcceptedContext) -> Dataset:
    # pydicom takes what is cut for what is short.
    walk = walk_over(context.transfer_syntax, frozenset())
    walk.take(memoryview(encoded))
    walk.finish()
    dataset: Dataset = decode(BytesIO(encoded), *_encoding(context))
    # Reads every element now: a service should not stumble over one later.
    for _ in dataset.iterall():
        pass
    return dataset


def _encoding(context: AcceptedContext) -> tuple[bool, bool, bool]:
    """Return whether the transfer syntax is implicit, little endian, deflated."""
    uid = context.transfer_syntax
    return (
        uid == IMPLICIT_VR_LITTLE_ENDIAN,
        uid != EXPLICIT_VR_BIG_ENDIAN,
        uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    )


def _answer(service: Service, request: ServiceRequest) -> ServiceAnswer:
    try:
        return service.answer(request)
    except Exception:  # noqa: BLE001 -- the request's edge: any answer beats none
        _log.error("service_failed", service=type(service).__name__, exc_info=True)
        return ServiceAnswer(PROCESSING_FAILURE)


def _encoded(
    request: Any, operation: str, answer: ServiceAnswer, context: AcceptedContext
) -> tuple[bytes, bytes | None]:
    """Return command set and data set of the response."""
    reply = type(request)()
    reply.MessageIDBeingRespondedTo = request.MessageID
    reply.AffectedSOPClassUID = _either(request, "SOPClassUID")
    if hasattr(reply, "AffectedSOPInstanceUID"):
        reply.AffectedSOPInstanceUID = answer.sop_instance_uid or _either(request, "SOPInstanceUID")
    reply.Status = answer.status
    for name in _REPEATED:
        if answer.dataset is not None and hasattr(request, name):
            setattr(reply, name, getattr(request, name))
    if answer.dataset is not None and operation in _REPLY_DATA:
        content = encode(answer.dataset, *_encoding(context))
        if content is None:
            raise ValueError("the reply cannot be encoded")
        setattr(reply, _REPLY_DATA[operation], BytesIO(content))
    message = getattr(dimse_messages, f"{operation}_RSP")()
    message.primitive_to_message(reply)
    data_set = message.data_set.getvalue() if message.data_set is not None else b""
    return encode(message.command_set, True, True) or b"", data_set or None


def _either(request: Any, name: str) -> Any:
    """Return the affected or else the requested UID: each operation has one of them."""
    affected = getattr(request, f"Affected{name}", None)
    return affected if affected is not None else getattr(request, f"Requested{name}", None)
