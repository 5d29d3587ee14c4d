"""Who may open an association (PS3.8 9.3.4): decided before any negotiation.

An AE title proves nothing, so a sender may be bound to networks, too. The answer to a wrong
address is the same as to an unknown title: a stranger learns nothing from trying.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, ip_address

from config.settings import ReceiveSettings, SenderSettings


class Rejection(Enum):
    """Reasons to reject, with the result, source and reason of PS3.8 table 9-21.

    Result 1 is permanent, 2 transient: after the latter a sender tries again by itself.
    """

    CALLED_AE_TITLE_NOT_RECOGNISED = ("called_ae_title_not_recognised", (1, 1, 7))
    CALLING_AE_TITLE_NOT_RECOGNISED = ("calling_ae_title_not_recognised", (1, 1, 3))
    ADDRESS_NOT_ALLOWED = ("address_not_allowed", (1, 1, 3))
    DISK_LOW = ("disk_low", (2, 3, 1))
    TOO_MANY_ASSOCIATIONS = ("too_many_associations", (2, 3, 2))

    def __init__(self, code: str, primitive: tuple[int, int, int]) -> None:
        self.code = code
        self.primitive = primitive


@dataclass(frozen=True, slots=True)
class Caller:
    """What a caller says of itself, and the address it calls from."""

    calling_ae_title: str
    called_ae_title: str
    address: str


def rejection(
    caller: Caller, receive: ReceiveSettings, ae_title: str, *, disk_is_low: bool
) -> Rejection | None:
    """Return why `caller` is rejected, or None."""
    if receive.require_called_ae_title and caller.called_ae_title != ae_title:
        return Rejection.CALLED_AE_TITLE_NOT_RECOGNISED
    senders = senders_named(receive, caller.calling_ae_title)
    if not senders and not receive.allow_any_sender:
        return Rejection.CALLING_AE_TITLE_NOT_RECOGNISED
    if senders and not any(_covers(sender, caller.address) for sender in senders):
        return Rejection.ADDRESS_NOT_ALLOWED
    return Rejection.DISK_LOW if disk_is_low else None


def senders_named(receive: ReceiveSettings, ae_title: str) -> tuple[SenderSettings, ...]:
    """Return the configured senders with that AE title."""
    return tuple(sender for sender in receive.senders if sender.ae_title == ae_title)


def _covers(sender: SenderSettings, address: str) -> bool:
    if not sender.addresses:
        return True
    source = ip_address(address.split("%")[0])
    if isinstance(source, IPv6Address) and source.ipv4_mapped:
        source = source.ipv4_mapped
    return any(source in network for network in sender.addresses)
