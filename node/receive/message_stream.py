"""DIMSE messages from presentation data values: one command set, then perhaps a data set.

The fragments of a message come in order, on one presentation context, and no other message
begins in between (PS3.7 6.3.1, PS3.8 annex E). Message after message the contexts may change.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator

from node.receive.association_ends import (
    AbortReason,
    PeerSilent,
    ProtocolViolation,
)
from node.receive.command_set import Command, InvalidCommandSet, read_command
from node.receive.upper_layer import COMMAND, LAST, UpperLayer

_LONGEST_COMMAND_SET = 1 << 16
_LEAST_BYTES = 1 << 16


class MessageStream:
    """Reads messages of one association; only PDVs of accepted contexts are messages' parts.

    A message that has begun must go on: where less than 64 KiB come in `timeout_s`, and it has
    not ended, the peer counts as silent.
    """

    def __init__(self, layer: UpperLayer, contexts: Container[int], *, timeout_s: float) -> None:
        self._layer = layer
        self._contexts = contexts
        self._timeout_s = timeout_s
        self._deadline = 0.0
        self._received = 0
        self._context_id = 0
        self.is_in_message = False

    def next_command(self) -> tuple[int, Command]:
        """Wait for the next message; return its presentation context and command set.

        Raises:
            AssociationOver: none came, or what is none.
        """
        context_id, control, fragment = self._layer.next_pdv()
        if context_id not in self._contexts:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        self._begin(context_id)
        try:
            command = read_command(self._command_set(control, fragment))
        except InvalidCommandSet:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE) from None
        self.is_in_message = command.has_data_set
        return context_id, command

    def data_set(self) -> Iterator[memoryview]:
        """Yield the fragments of the data set of the message that has begun.

        Each is good until the next one.
        """
        while self.is_in_message:
            control, fragment = self._next_fragment()
            if control & COMMAND:
                raise ProtocolViolation(AbortReason.UNEXPECTED_PDU_PARAMETER)
            self.is_in_message = not control & LAST
            yield fragment

    def _begin(self, context_id: int) -> None:
        self._context_id = context_id
        self._deadline = time.monotonic() + self._timeout_s
        self._received = 0
        self.is_in_message = True

    def _command_set(self, control: int, fragment: memoryview) -> bytes:
        encoded = bytearray()
        while True:
            if not control & COMMAND:
                raise ProtocolViolation(AbortReason.UNEXPECTED_PDU_PARAMETER)
            if len(encoded) + len(fragment) > _LONGEST_COMMAND_SET:
                raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
            encoded += fragment
            if control & LAST:
                return bytes(encoded)
            control, fragment = self._next_fragment()

    def _next_fragment(self) -> tuple[int, memoryview]:
        context_id, control, fragment = self._layer.next_pdv()
        if context_id != self._context_id:
            raise ProtocolViolation(AbortReason.UNEXPECTED_PDU_PARAMETER)
        self._received += len(fragment)
        if self._received >= _LEAST_BYTES:
            self._received = 0
            self._deadline = time.monotonic() + self._timeout_s
        elif time.monotonic() > self._deadline:
            raise PeerSilent
        return control, fragment
