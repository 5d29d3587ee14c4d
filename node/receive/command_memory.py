"""Instance after instance, the command sets of one association are alike.

What differs from one C-STORE request to the next is the Message ID (0000,0110) and the Affected
SOP Instance UID (0000,1000). Where nothing else does, a request is known by the one before. The
result is what `read_command` would return.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from node.receive.command_set import (
    AFFECTED_SOP_INSTANCE_UID,
    MESSAGE_ID,
    Command,
    around,
    read_command,
)

_LONGEST_KNOWN = 1 << 10


class _Known(NamedTuple):
    """A request, where its two own values lie, and the bytes before, between and behind them."""

    command: Command
    layout: struct.Struct
    before: bytes
    between: bytes
    behind: bytes


class CommandMemory:
    """Reads the command sets of one association, and remembers the last one; for its thread."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def read(self, encoded: bytes) -> Command:
        """Read the command set of a request.

        Raises:
            InvalidCommandSet: it is none.
        """
        known = self._known
        if known is not None and len(encoded) == known.layout.size:
            before, message_id, between, uid, behind = known.layout.unpack(encoded)
            if before == known.before and between == known.between and behind == known.behind:
                last = known.command
                uid = uid.rstrip(b"\0 ")
                if uid:
                    return Command(
                        last.field, message_id, last.has_data_set, last.sop_class_uid, uid, encoded
                    )
        command = read_command(encoded)
        self._known = _known(command)
        return command


def _known(command: Command) -> _Known | None:
    """Return what is to be remembered; None where the two values do not lie there as usual."""
    encoded = command.encoded
    if len(encoded) > _LONGEST_KNOWN:
        return None
    pieces = around(encoded, MESSAGE_ID, AFFECTED_SOP_INSTANCE_UID)
    if pieces is None:
        return None
    before, between, behind = pieces
    sizes = len(before), len(between), len(encoded) - sum(map(len, pieces)) - 2, len(behind)
    return _Known(command, struct.Struct("<{}sH{}s{}s{}s".format(*sizes)), *pieces)
