"""Who may open an association (PS3.8 9.3.4): decided before any negotiation.

An AE title proves nothing, so a sender may be bound to networks, too. The answer to a wrong
address is the same as to an unknown title: a stranger learns nothing from trying.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, ip_address

from config.settings import ReceiveSettings, SenderSettings

_LONGEST_TITLE = 16


class Rejection(Enum):
    """Reasons to reject, with the result, source and reason of PS3.8 table 9-21.

    Result 1 is permanent, 2 transient: after the latter a sender tries again by itself.
    """

    CALLED_AE_TITLE_NOT_RECOGNISED = ("called_ae_title_not_recognised", (1, 1, 7))
    CALLING_AE_TITLE_NOT_RECOGNISED = ("calling_ae_title_not_recognised", (1, 1, 3))
    ADDRESS_NOT_ALLOWED = ("address_not_allowed", (1, 1, 3))
    CERTIFICATE_NOT_OF_SENDER = ("certificate_not_of_sender", (1, 1, 3))
    DISK_LOW = ("disk_low", (2, 3, 1))
    TOO_MANY_ASSOCIATIONS = ("too_many_associations", (2, 3, 2))
    TOO_MANY_OF_SENDER = ("too_many_associations_of_sender", (2, 3, 2))

    def __init__(self, code: str, primitive: tuple[int, int, int]) -> None:
        self.code = code
        self.primitive = primitive


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The verified certificate that a caller showed: SHA-256 (hexadecimal) and its names.

    `names` are the common names of its subject and its DNS names.
    """

    fingerprint: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """What a caller says of itself, and the address it calls from.

    The AE titles are as `printable_ae_title` makes them. `certificate` is None without TLS, and
    where TLS asks for none.
    """

    calling_ae_title: str
    called_ae_title: str
    address: str
    certificate: PeerCertificate | None = None


def printable_ae_title(raw: str | bytes) -> str:
    """Return an AE title from the wire (16 bytes, padded) fit for a log, a row and a page.

    Whatever is not printable ASCII becomes `\\xNN`. A backslash stands in no valid AE title, so
    that nothing malformed can turn into the title of somebody known.
    """
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return "".join(_printable(sign) for sign in text.strip(" ")[:_LONGEST_TITLE])


def _printable(sign: str) -> str:
    if " " <= sign <= "~" and sign != "\\":
        return sign
    return f"\\x{ord(sign):02x}"


def rejection(
    caller: Caller, receive: ReceiveSettings, ae_title: str, *, disk_is_low: bool
) -> Rejection | None:
    """Return why `caller` is rejected, or None."""
    if receive.require_called_ae_title and caller.called_ae_title != ae_title:
        return Rejection.CALLED_AE_TITLE_NOT_RECOGNISED
    senders = senders_named(receive, caller.calling_ae_title)
    if not senders and not receive.allow_any_sender:
        return Rejection.CALLING_AE_TITLE_NOT_RECOGNISED
    reason = _identity_fault(senders, caller)
    if reason is not None:
        return reason
    return Rejection.DISK_LOW if disk_is_low else None


def _identity_fault(senders: tuple[SenderSettings, ...], caller: Caller) -> Rejection | None:
    at_home = [sender for sender in senders if _covers(sender, caller.address)]
    if senders and not at_home:
        return Rejection.ADDRESS_NOT_ALLOWED
    if at_home and not any(_is_proved(sender, caller.certificate) for sender in at_home):
        return Rejection.CERTIFICATE_NOT_OF_SENDER
    return None


def _is_proved(sender: SenderSettings, certificate: PeerCertificate | None) -> bool:
    """Whether a sender that is bound to certificates has shown one of them."""
    if not sender.certificate_fingerprints and not sender.certificate_names:
        return True
    if certificate is None:
        return False
    return certificate.fingerprint in sender.certificate_fingerprints or not (
        certificate.names.isdisjoint(sender.certificate_names)
    )


def senders_named(receive: ReceiveSettings, ae_title: str) -> tuple[SenderSettings, ...]:
    """Return the configured senders with that AE title."""
    return tuple(sender for sender in receive.senders if sender.ae_title == ae_title)


def _covers(sender: SenderSettings, address: str) -> bool:
    if not sender.addresses:
        return True
    try:
        source = ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(source, IPv6Address) and source.ipv4_mapped:
        source = source.ipv4_mapped
    return any(source in network for network in sender.addresses)
