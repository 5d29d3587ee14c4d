"""Why a TLS handshake failed, in a few words that are safe to show, log and count."""

from __future__ import annotations

import ssl
from enum import StrEnum


class TlsFailure(StrEnum):
    """Kinds of failed handshakes (RFC 8446 6.2, as OpenSSL tells them)."""

    TIMEOUT = "tls_timeout"
    NOT_TLS = "tls_not_spoken"
    NO_CERTIFICATE = "tls_certificate_missing"
    CERTIFICATE_EXPIRED = "tls_certificate_expired"
    CERTIFICATE_UNTRUSTED = "tls_certificate_untrusted"
    CERTIFICATE_REVOKED = "tls_certificate_revoked"
    REVOCATION_UNKNOWN = "tls_revocation_list_missing"
    REVOCATION_EXPIRED = "tls_revocation_list_expired"
    HOST_NAME = "tls_host_name_differs"
    VERSION = "tls_version_refused"
    CIPHER = "tls_no_shared_cipher"
    REFUSED_BY_PEER = "tls_refused_by_peer"
    CLOSED = "tls_connection_closed"
    FAILED = "tls_failed"


EXPLANATIONS: dict[TlsFailure, str] = {
    TlsFailure.TIMEOUT: "the TLS handshake took too long",
    TlsFailure.NOT_TLS: "the other side does not speak TLS on this port",
    TlsFailure.NO_CERTIFICATE: "the other side showed no certificate",
    TlsFailure.CERTIFICATE_EXPIRED: "its certificate has expired, or is not valid yet",
    TlsFailure.CERTIFICATE_UNTRUSTED: "its certificate does not come from a trusted CA",
    TlsFailure.CERTIFICATE_REVOKED: "its certificate, or that of a CA of it, has been withdrawn",
    TlsFailure.REVOCATION_UNKNOWN: "revocation_lists has no valid list of one of its CAs",
    TlsFailure.REVOCATION_EXPIRED: "the revocation list of one of its CAs is past its next update",
    TlsFailure.HOST_NAME: "its certificate is for another host name",
    TlsFailure.VERSION: "no TLS version in common: 1.2 or 1.3 is needed",
    TlsFailure.CIPHER: "no cipher suite in common",
    TlsFailure.REFUSED_BY_PEER: "the other side refused; perhaps it does not trust our certificate",
    TlsFailure.CLOSED: "the connection was closed during the TLS handshake",
    TlsFailure.FAILED: "the TLS handshake failed",
}

_BY_VERIFY_CODE = {
    9: TlsFailure.CERTIFICATE_EXPIRED,  # not yet valid
    10: TlsFailure.CERTIFICATE_EXPIRED,
    3: TlsFailure.REVOCATION_UNKNOWN,  # there is none of that CA
    8: TlsFailure.REVOCATION_UNKNOWN,  # it was signed by somebody else
    11: TlsFailure.REVOCATION_EXPIRED,  # it is not valid yet
    12: TlsFailure.REVOCATION_EXPIRED,
    23: TlsFailure.CERTIFICATE_REVOKED,
    44: TlsFailure.REVOCATION_UNKNOWN,  # it is of other kinds of certificates
    62: TlsFailure.HOST_NAME,
    64: TlsFailure.HOST_NAME,  # an IP address
}
_BY_REASON = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": TlsFailure.NO_CERTIFICATE,
    "WRONG_VERSION_NUMBER": TlsFailure.NOT_TLS,
    "HTTP_REQUEST": TlsFailure.NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": TlsFailure.NOT_TLS,
    "UNSUPPORTED_PROTOCOL": TlsFailure.VERSION,
    "NO_PROTOCOLS_AVAILABLE": TlsFailure.VERSION,
    "VERSION_TOO_LOW": TlsFailure.VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": TlsFailure.VERSION,
    "NO_SHARED_CIPHER": TlsFailure.CIPHER,
    "UNEXPECTED_EOF_WHILE_READING": TlsFailure.CLOSED,
}


def failure_of(error: OSError) -> TlsFailure:
    """Return what kind of failure an error of a handshake is."""
    if isinstance(error, TimeoutError):
        return TlsFailure.TIMEOUT
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, TlsFailure.CERTIFICATE_UNTRUSTED)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
        return TlsFailure.CLOSED
    reason = str(error.reason or "")
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    return TlsFailure.REFUSED_BY_PEER if "_ALERT_" in reason else TlsFailure.FAILED
