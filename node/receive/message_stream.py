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
from node.receive.command_memory import CommandMemory
from node.receive.command_set import Command, InvalidCommandSet
from node.receive.pdu_stream import COMMAND, LAST
from node.receive.upper_layer import UpperLayer

_LONGEST_COMMAND_SET = 1 << 16
_LEAST_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
QUICK_S = 1.0
"""After so long, fragments come one after another: who reads may have to look at each of them."""


class MessageStream:
    """Reads messages of one association; only PDVs of accepted contexts are messages' parts.

    A message that has begun must go on: where less than 64 KiB come in `timeout_s`, and it has
    not ended, the peer counts as silent.
    """

    def __init__(self, layer: UpperLayer, contexts: Container[int], *, timeout_s: float) -> None:
        self._layer = layer
        self._contexts = contexts
        self._timeout_s = timeout_s
        self._deadline = self._quick_until_s = 0.0
        self._received = self._given = 0
        self._context_id = 0
        self._commands = CommandMemory()
        self._resumed: tuple[int, Command] | None = None
        self.is_in_message = False

    def next_command(self) -> tuple[int, Command]:
        """Wait for the next message; return its presentation context and command set.

        Raises:
            AssociationOver: none came, or what is none.
        """
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            return resumed
        context_id, control, fragment = self._layer.next_pdv()
        if context_id not in self._contexts:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE)
        self._begin(context_id)
        try:
            command = self._commands.read(self._command_set(control, fragment))
        except InvalidCommandSet:
            raise ProtocolViolation(AbortReason.INVALID_PDU_PARAMETER_VALUE) from None
        self.is_in_message = command.has_data_set
        return context_id, command

    def data_set(self) -> Iterator[memoryview]:
        """Yield the data set of the message that has begun in pieces, each good until the next."""
        memory = memoryview(bytearray(_PIECE_BYTES))
        while size := self.read_into(memory):
            yield memory[:size]

    def read_into(self, memory: memoryview) -> int:
        """Place what comes next of that data set in `memory`; return how many bytes, 0 at its end.

        It is a fragment, or as much of it as has room, or several large ones.

        Raises:
            AssociationOver: it has no end.
        """
        if self._given:
            size = min(self._given, len(memory))
            self._given -= size
            return size
        while self.is_in_message:
            context_id, control, size = self._layer.read_into(
                memory, self._context_id, self._quick_until_s
            )
            self._check(context_id, size)
            if control & COMMAND:
                raise ProtocolViolation(AbortReason.UNEXPECTED_PDU_PARAMETER)
            self.is_in_message = not control & LAST
            if size:
                return size
        return 0

    @property
    def quick_s(self) -> float:
        """For how long fragments of a message may come together that begins now."""
        return min(QUICK_S, self._timeout_s)

    def resume(self, context_id: int, encoded: bytes, came: bytes, given: int) -> None:
        """Somebody else has read a command set, which `next_command` returns, and some data set.

        `given` bytes of that lie in the memory that will be handed to `read_into`, piece by piece
        where they would be placed; `came` was read, too, and comes next.
        """
        self._begin(context_id)
        self._resumed = context_id, self._commands.read(encoded)
        self._layer.put_back(came)
        self._given = self._received = given
        if given >= _LEAST_BYTES:
            self._received = 0

    def excuse(self, wait_s: float) -> None:
        """Give the peer more time, because we wait for so long before we read on."""
        self._deadline += wait_s

    def _begin(self, context_id: int) -> None:
        self._context_id = context_id
        now = time.monotonic()
        self._deadline, self._quick_until_s = now + self._timeout_s, now + QUICK_S
        self._received = self._given = 0
        self.is_in_message = True

    def _command_set(self, control: int, fragment: memoryview) -> bytes:
        if control == COMMAND | LAST and len(fragment) <= _LONGEST_COMMAND_SET:
            return bytes(fragment)
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
        self._check(context_id, len(fragment))
        return control, fragment

    def _check(self, context_id: int, size: int) -> None:
        """Judge a fragment of `size` bytes of the message that has begun."""
        if context_id != self._context_id:
            raise ProtocolViolation(AbortReason.UNEXPECTED_PDU_PARAMETER)
        self._received += size
        if self._received >= _LEAST_BYTES:
            self._received = 0
            self._deadline = time.monotonic() + self._timeout_s
        elif time.monotonic() > self._deadline and not self._layer.is_in_value():
            # Of a value that has come in full, the rest counts as soon as it is read.
            raise PeerSilent
