"""The TLS side of the listener: a context that follows renewed files, and the handshake.

The handshake belongs into the connection's own thread: a caller that begins one and falls silent
must not keep others from being accepted.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from config.certificates import UnusableFile
from config.tls_context import server_context
from config.tls_failure import TlsFailure, failure_of
from config.tls_settings import ServerTls
from node.errors import ListenerFailed
from node.receive.admission import PeerCertificate

_LAST_WORD_S = 0.5
_READ_AT_ONCE = 65536
_Stamp = tuple[tuple[int, int, int], ...]

_log = structlog.get_logger()


class HandshakeFailed(Exception):
    """No TLS with this caller; `failure` says why."""

    def __init__(self, failure: TlsFailure) -> None:
        self.failure = failure
        super().__init__(failure.value)


class TlsPort:
    """Makes TLS connections of accepted ones; may be called from many threads.

    `name` are the settings that it follows. Raises `ListenerFailed`, when it is made, where the
    files cannot be used.
    """

    def __init__(self, tls: ServerTls, name: str = "receive.tls") -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._stamp = self._stamp_now()
        try:
            self._context = server_context(tls)
        except UnusableFile as error:
            raise ListenerFailed(f"{name} cannot be used: {error}") from None

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return what takes the connection's place, before its handshake.

        Raises:
            HandshakeFailed: the caller has gone already.
        """
        try:
            return self._current().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        except OSError as error:
            connection.close()
            raise HandshakeFailed(failure_of(error)) from None

    def following_context(self) -> ssl.SSLContext:
        """Return a context for a server that takes one for good; renewed files are followed."""

        def renew(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._current()

        context = self._current()
        context.sni_callback = renew
        return context

    def _current(self) -> ssl.SSLContext:
        """Return the context of the files as they are; the last good one while they are not."""
        with self._lock:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._renew()
            return self._context

    def _renew(self) -> None:
        try:
            self._context = server_context(self._tls)
        except UnusableFile as error:
            _log.error("tls_files_not_renewed", problem=str(error))
        else:
            _log.info("tls_files_renewed")

    def _stamp_now(self) -> _Stamp:
        tls = self._tls
        files = (tls.certificate_file, tls.key_file, tls.client_ca_file, *tls.revocation_lists)
        return tuple(_stamp(path) for path in files if path is not None)


def handshake(secured: ssl.SSLSocket, timeout_s: float) -> None:
    """Make the handshake, all of it within `timeout_s`; then that is the time-out.

    Raises:
        HandshakeFailed: the caller speaks no TLS, or none that is good enough. It is closed.
    """
    secured.settimeout(timeout_s)
    try:
        secured.do_handshake()
    except OSError as error:
        _close_softly(secured)
        raise HandshakeFailed(failure_of(error)) from None


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_ino, status.st_size


def _close_softly(connection: socket.socket) -> None:
    """Close so that the last word still arrives: bytes unread would tear it away."""
    until = time.monotonic() + _LAST_WORD_S
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.settimeout(_LAST_WORD_S)
        while socket.socket.recv(connection, _READ_AT_ONCE) and time.monotonic() < until:
            pass
    connection.close()


def peer_certificate(connection: socket.socket) -> PeerCertificate | None:
    """Return the verified certificate of the caller; None without TLS, or where it showed none."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    encoded = connection.getpeercert(binary_form=True)
    if not encoded:
        return None
    return PeerCertificate(
        fingerprint=hashlib.sha256(encoded).hexdigest(),
        names=frozenset(_names(connection.getpeercert() or {})),
    )


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for relative_name in certificate.get("subject", ()):
        for kind, value in relative_name:
            if kind == "commonName":
                yield value
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            yield value
