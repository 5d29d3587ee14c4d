"""TLS as BCP 195 (RFC 9325) and the profile of PS3.15 B want it: 1.2 and 1.3, nothing older."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from config.certificates import UnusableFile, check_identity
from config.revocation_lists import ask_revocation_lists
from config.tls_settings import ClientTls, ServerTls

TLS_1_2_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
"""RFC 9325 4.2; those of TLS 1.3 are all of this kind."""


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """Return the context of the TLS port, from the files as they are now.

    Raises `UnusableFile`: a file cannot be read, a key is open to others, or the two differ.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_identity(context, tls.certificate_file, tls.key_file)
    if tls.client_ca_file is not None:
        _load_ca(context, tls.client_ca_file)
        is_required = tls.require_client_certificate
        context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    elif tls.require_client_certificate:
        raise UnusableFile("no client_ca_file: nobody's certificate could be verified")
    ask_revocation_lists(context, tls.revocation_lists)
    return context


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """Return the context for connecting to one peer, whose certificate it always verifies.

    Raises `UnusableFile`.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.verify_host_name
    if tls.ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_ca(context, tls.ca_file)
    ask_revocation_lists(context, tls.revocation_lists)
    if tls.certificate_file is not None:
        _load_identity(context, tls.certificate_file, tls.key_file)
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(TLS_1_2_CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _load_identity(
    context: ssl.SSLContext, certificate_file: Path | None, key_file: Path | None
) -> None:
    if certificate_file is None or key_file is None:
        raise UnusableFile("give certificate_file and key_file together")
    try:
        check_identity(certificate_file, key_file, datetime.now(UTC))
    except UnusableFile as error:
        raise UnusableFile(f"{certificate_file} with {key_file}: {error}") from None
    try:
        context.load_cert_chain(certificate_file, key_file)
    except (OSError, ValueError):
        raise UnusableFile(f"{certificate_file} and its key cannot be loaded") from None


def _load_ca(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError):
        raise UnusableFile(f"{path} holds no CA certificate that can be read") from None
