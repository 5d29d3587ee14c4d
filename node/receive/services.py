"""What a service other than storage looks like to the receiver (PS3.7 9.1.5, 10.1).

C-STORE has its own lane. Everything else is rare: its message is collected in memory, decoded
with pynetdicom's classes, and answered by the service that serves the SOP Class of its
presentation context. A service runs in the thread of the association that asks, so it may be
called from many threads at once and holds up nobody but its caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydicom.dataset import Dataset
from pynetdicom.sop_class import Verification

from node.receive.admission import Caller

SUCCESS = 0x0000


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One request.

    `message` is pynetdicom's primitive: C_ECHO, N_ACTION, N_EVENT_REPORT, N_CREATE, N_SET, N_GET
    or N_DELETE. `dataset` is what came with it, decoded: Action Information, Event Information,
    Attribute List or Modification List; None where nothing came.
    """

    caller: Caller
    message: Any
    dataset: Dataset | None


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """The answer to one request.

    `status` is the Status (0000,0900); `dataset` the reply of the service (Action Reply, Event
    Reply, Attribute List). `sop_instance_uid` names the instance that an N-CREATE made where the
    request left that to us. `after` is run, in the association's thread, once the answer is on
    the wire: what must not happen before the peer knows, as an N-EVENT-REPORT of our own.
    """

    status: int
    dataset: Dataset | None = None
    sop_instance_uid: str | None = None
    after: Callable[[], None] | None = None


class Service(Protocol):
    """One DIMSE service that the receiver offers beside storage.

    `sop_classes` are the abstract syntaxes it serves. With `accepts_scp_role_reversal` a caller
    may propose to be the SCP itself (PS3.7 D.3.3.4) and then report to us as the SCU, as storage
    commitment does with its N-EVENT-REPORT.
    """

    @property
    def sop_classes(self) -> tuple[str, ...]:
        """Abstract syntaxes that this service serves."""

    @property
    def accepts_scp_role_reversal(self) -> bool:
        """Whether a caller may take the SCP role."""

    def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer one request; what it raises is logged and answered 0x0110."""


class VerificationService:
    """Verification (PS3.4 A): a C-ECHO is answered Success."""

    sop_classes: tuple[str, ...] = (str(Verification),)
    accepts_scp_role_reversal = False

    def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer that the association works."""
        return ServiceAnswer(SUCCESS)


def by_sop_class(services: Iterable[Service]) -> Mapping[str, Service]:
    """Return who serves which SOP Class.

    Raises:
        ValueError: two services serve the same one.
    """
    served: dict[str, Service] = {}
    for service in services:
        for uid in service.sop_classes:
            if uid in served:
                raise ValueError(f"SOP Class {uid} is served twice")
            served[uid] = service
    return served
