"""`radnode make-certificates`: certificates for a first mutual TLS, and what to do with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from node.certificate_maker import CertificateMaker, KeyType, MadeCertificate
from node.errors import CannotMakeCertificates

_HOST = re.compile(r"(?=.{1,64}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_RESERVED = frozenset({"ca", "node"})


def made_certificates(
    folder: Path,
    names: Sequence[str],
    peers: Sequence[str],
    *,
    days: int,
    key_type: KeyType,
    renew: bool,
) -> Iterator[str]:
    """Make node.pem for `names` and PEER.pem for each peer; yield what a person must know.

    Raises `CannotMakeCertificates`.
    """
    _check(names, peers)
    maker = CertificateMaker(folder.absolute(), key_type=key_type)
    node = maker.make("node", names, days=days, renew=renew)
    made = [maker.make(_stem(peer), [peer], days=days, renew=renew) for peer in peers]
    yield from _for_this_node(maker.ca_file, node)
    for peer in made:
        yield from _for_peer(maker.ca_file, peer)
    yield f"Valid until {node.not_after:%Y-%m-%d}; renew with --renew, which needs no restart."
    yield f"Keep {folder.absolute() / 'ca.key'} off this machine: it makes new identities."


def _check(names: Sequence[str], peers: Sequence[str]) -> None:
    for host in (*names, *peers):
        if not _is_address(host) and not _HOST.fullmatch(host):
            raise CannotMakeCertificates(f"{host!r} is no host name or address")
    stems = [_stem(peer) for peer in peers]
    if len(set(stems)) < len(stems) or not _RESERVED.isdisjoint(stems):
        raise CannotMakeCertificates("name each peer once, and none ca or node")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _stem(peer: str) -> str:
    return peer.lower().replace(":", "_")


def _for_this_node(ca_file: Path, node: MadeCertificate) -> Iterator[str]:
    yield "In this node's configuration:"
    yield "  receive:"
    yield "    tls:"
    yield "      enabled: true"
    yield f"      certificate_file: {node.certificate_file}"
    yield f"      key_file: {node.key_file}"
    yield f"      client_ca_file: {ca_file}"
    yield "  and under tls of each DICOM destination:"
    yield "      enabled: true"
    yield f"      certificate_file: {node.certificate_file}"
    yield f"      key_file: {node.key_file}"
    yield f"      ca_file: {ca_file}"


def _for_peer(ca_file: Path, peer: MadeCertificate) -> Iterator[str]:
    yield f"Give {peer.name}, over a safe way:"
    yield f"  its certificate {peer.certificate_file}"
    yield f"  its private key {peer.key_file}"
    yield f"  the CA to trust {ca_file}"
    yield "  To bind the sender to it: receive.senders[].certificate_fingerprints:"
    yield f"      [{peer.fingerprint}]"
