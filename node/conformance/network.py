"""Addresses, sizes, timers and what else of the network may be configured, with the defaults."""

from __future__ import annotations

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from config.reference import all_settings, setting_meanings
from config.tls_context import TLS_1_2_CIPHERS, client_context
from config.tls_settings import ClientTls, ServerTls
from node.conformance.markdown import code, table

_PREFIXES = ("receive.", "destinations[dicom].", "destinations[stow].")
_SINGLE_KEYS = ("node.ae_title", "completeness.find_timeout_s")


def implementation() -> list[str]:
    """Return how the node names itself in an association."""
    return [
        "### Implementation",
        *table(
            ("", ""),
            (
                ("Implementation Class UID", code(str(PYNETDICOM_IMPLEMENTATION_UID))),
                ("Implementation Version Name", code(PYNETDICOM_IMPLEMENTATION_VERSION)),
                ("Application Context Name", code("1.2.840.10008.3.1.1.1")),
            ),
        ),
    ]


def transport_security() -> list[str]:
    """Return the TLS profile, read from a context as the node makes it."""
    context = client_context(ClientTls())
    oldest = context.minimum_version.name.removeprefix("TLSv").replace("_", ".")
    ciphers = ", ".join(code(name) for name in TLS_1_2_CIPHERS)
    callers = "mutual by default" if ServerTls().require_client_certificate else "one-sided"
    return [
        "### Transport",
        "",
        f"DICOM over TLS by BCP 195 (RFC 9325; PS3.15 B), {callers}: on a port of its own as "
        "acceptor (`receive.tls`), and to each destination and C-FIND provider as requestor "
        "(`tls`, `find_tls`), HTTPS to `stow` destinations included. "
        f"Oldest version: TLS {oldest}, with these cipher suites: {ciphers}; "
        "in TLS 1.3 all of them. The certificate of a peer that we call is always verified. Where "
        "`revocation_lists` are given (RFC 5280 CRLs; no OCSP), each certificate of a chain is "
        "looked up, and refused where the list of its CA is missing or has expired.",
        "",
    ]


def configuration() -> list[str]:
    """Return every setting that shows on the DICOM network."""
    meanings = setting_meanings()
    rows = [
        (code(setting.key), setting.default, meanings[setting.key])
        for setting in all_settings()
        if setting.key.startswith(_PREFIXES) or setting.key in _SINGLE_KEYS
    ]
    return table(("setting", "default", "meaning"), rows)
