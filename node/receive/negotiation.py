"""An association request, and what is agreed on (PS3.8 9.3.2, PS3.7 D.3).

The titles are read from their fixed place, so that a stranger is turned away before anything of
variable length is decoded. The rest is pynetdicom's: its PDU classes and its negotiation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from node.receive.admission import printable_ae_title
from node.receive.association_ends import AbortReason, ProtocolViolation
from node.receive.parse_errors import PARSE_ERRORS
from node.receive.pdu_stream import PduType

_FIXED = struct.Struct(">H2x16s16s32x")
_ITEM = struct.Struct(">BxH")
_PROTOCOL_VERSION_1 = 0x0001
_APPLICATION_CONTEXT, _PRESENTATION_CONTEXT, _TRANSFER_SYNTAX = 0x10, 0x20, 0x40
_USER_INFORMATION, _MAXIMUM_LENGTH, _ROLE_SELECTION = 0x50, 0x51, 0x54
_USED = frozenset({_APPLICATION_CONTEXT, _PRESENTATION_CONTEXT, _USER_INFORMATION})
_USED_OF_USER = frozenset({_MAXIMUM_LENGTH, _ROLE_SELECTION})
_CONTEXT_ID = 4
_MOST_CONTEXTS = 128
_MOST_TRANSFER_SYNTAXES = 256


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """The fixed part of an A-ASSOCIATE-RQ; `body` is all of it but the PDU's header."""

    calling_ae_title: str
    called_ae_title: str
    speaks_our_version: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """One presentation context that both sides can use."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """The A-ASSOCIATE-AC, the contexts by id, and the longest PDU the peer takes (0: any)."""

    accept_pdu: bytes
    contexts: Mapping[int, AcceptedContext]
    peer_max_pdu_bytes: int


def read_request(body: bytes) -> AssociationRequest:
    """Read the fixed part of an A-ASSOCIATE-RQ.

    Raises:
        ProtocolViolation: it is shorter than that.
    """
    if len(body) < _FIXED.size:
        raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
    version, called, calling = _FIXED.unpack_from(body)
    return AssociationRequest(
        calling_ae_title=printable_ae_title(calling),
        called_ae_title=printable_ae_title(called),
        speaks_our_version=bool(version & _PROTOCOL_VERSION_1),
        body=body,
    )


class Proposal:
    """All of an A-ASSOCIATE-RQ, decoded.

    Raises:
        ProtocolViolation: it is none, or proposes more than anybody can mean.
    """

    def __init__(self, request: AssociationRequest) -> None:
        body = _what_counts(request.body)
        pdu = A_ASSOCIATE_RQ()
        header = struct.pack(">BxI", PduType.A_ASSOCIATE_RQ, len(body))
        try:
            pdu.decode(header + body)
            self._primitive = pdu.to_primitive()
            self._contexts = self._primitive.presentation_context_definition_list
            self.abstract_syntaxes = tuple(str(each.abstract_syntax) for each in self._contexts)
            self.application_context_name = str(self._primitive.application_context_name)
            self._peer_max_pdu_bytes = int(self._primitive.maximum_length_received or 0)
        except PARSE_ERRORS:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE) from None

    def agree(self, supported: list[PresentationContext], *, max_pdu_bytes: int) -> Agreement:
        """Negotiate the contexts, roles included, and return what was agreed on.

        Raises:
            ProtocolViolation: an answer cannot be made of what was proposed.
        """
        try:
            results, roles = negotiate_as_acceptor(self._contexts, supported, self._roles())
            accept_pdu = self._accept_pdu(results, roles, max_pdu_bytes)
        except PARSE_ERRORS:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE) from None
        contexts = {
            int(each.context_id): AcceptedContext(
                str(each.abstract_syntax), str(each.transfer_syntax[0])
            )
            for each in results
            if each.result == 0
        }
        return Agreement(accept_pdu, contexts, self._peer_max_pdu_bytes)

    def _roles(self) -> dict[Any, tuple[bool, bool]]:
        """Return the proposed (SCU, SCP) roles by SOP Class (PS3.7 D.3.3.4)."""
        return {
            item.sop_class_uid: (item.scu_role, item.scp_role)
            for item in self._primitive.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
        }

    def _accept_pdu(
        self, results: list[PresentationContext], roles: list[Any], max_pdu_bytes: int
    ) -> bytes:
        primitive = A_ASSOCIATE()
        primitive.application_context_name = self._primitive.application_context_name
        primitive.calling_ae_title = self._primitive.calling_ae_title
        primitive.called_ae_title = self._primitive.called_ae_title
        primitive.result, primitive.result_source = 0, 1
        primitive.presentation_context_definition_results_list = results
        primitive.user_information = [*_user_information(max_pdu_bytes), *roles]
        return bytes(A_ASSOCIATE_AC(primitive).encode())


def _user_information(max_pdu_bytes: int) -> Iterator[Any]:
    maximum_length = MaximumLengthNotification()
    maximum_length.maximum_length_received = max_pdu_bytes
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version_name = ImplementationVersionNameNotification()
    version_name.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    yield from (maximum_length, class_uid, version_name)


def _what_counts(body: bytes) -> bytes:
    """Return an A-ASSOCIATE-RQ with the items that we use, before pynetdicom decodes them.

    Items and sub-items of unknown types are to be ignored (PS3.8 9.3.1), and a fault in one that
    nobody uses should cost nobody an association.
    """
    fixed, items = body[: _FIXED.size], memoryview(body)[_FIXED.size :]
    used, ids = [], set()
    for kind, item in _items(items):
        if kind == _PRESENTATION_CONTEXT:
            _check_context(item)
            ids.add(item[0])
        elif kind == _USER_INFORMATION:
            item = memoryview(_packed(each for each in _items(item) if each[0] in _USED_OF_USER))
        used.append((kind, item))
    contexts = sum(kind == _PRESENTATION_CONTEXT for kind, _ in used)
    if contexts > _MOST_CONTEXTS or len(ids) < contexts:
        raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
    return fixed + _packed(each for each in used if each[0] in _USED)


def _packed(items: Iterable[tuple[int, memoryview]]) -> bytes:
    return b"".join(_ITEM.pack(kind, len(item)) + item for kind, item in items)


def _check_context(context: memoryview) -> None:
    """Count what is proposed before pynetdicom compares each with each."""
    syntaxes = sum(kind == _TRANSFER_SYNTAX for kind, _ in _items(context[_CONTEXT_ID:]))
    if len(context) < _CONTEXT_ID or syntaxes > _MOST_TRANSFER_SYNTAXES:
        raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)


def _items(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(content):
        if len(content) - at < _ITEM.size:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        kind, length = _ITEM.unpack_from(content, at)
        at += _ITEM.size
        if length > len(content) - at:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        yield kind, content[at : at + length]
        at += length
