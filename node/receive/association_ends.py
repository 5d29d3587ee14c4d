"""Everything that ends an association, as exceptions of the thread that serves it (PS3.8 9.2).

Each says how the end stands in the books, and which A-ABORT the peer is sent, if any.
"""

from __future__ import annotations

from enum import IntEnum

from storage.associations import AssociationEnd

SERVICE_USER, SERVICE_PROVIDER = 0, 2


class AbortReason(IntEnum):
    """Why the service provider aborts (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


class AssociationOver(Exception):
    """The association has come to its end; `abort` is source and reason of the A-ABORT to send."""

    end: AssociationEnd = "aborted"
    abort: tuple[int, int] | None = None


class PeerReleased(AssociationOver):
    """The peer asked for the release, and nothing was under way."""

    end = "released"


class PeerAborted(AssociationOver):
    """The peer sent an A-ABORT."""


class PeerVanished(AssociationOver):
    """The connection is gone without a word."""

    end = "lost"


class PeerSilent(AssociationOver):
    """What was due did not come in time."""

    abort = (SERVICE_USER, 0)


class NodeStops(AssociationOver):
    """The listener stops and its grace is over."""

    abort = (SERVICE_USER, 0)


class Rejected(AssociationOver):
    """The request was answered by an A-ASSOCIATE-RJ."""


class NodeFailed(AssociationOver):
    """Something here went wrong that should not be able to."""

    abort = (SERVICE_PROVIDER, int(AbortReason.NOT_SPECIFIED))


class ProtocolViolation(AssociationOver):
    """The peer sent what it must not send at this point, or at all."""

    def __init__(self, reason: AbortReason) -> None:
        super().__init__(reason.name.lower())
        self.abort = (SERVICE_PROVIDER, int(reason))
