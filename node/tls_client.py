"""Outgoing associations over TLS: what pynetdicom needs for one, and why a handshake failed."""

from __future__ import annotations

import ssl
from typing import Any

from config.certificates import UnusableFile
from config.tls_context import client_context
from config.tls_failure import EXPLANATIONS, TlsFailure, failure_of
from config.tls_settings import ClientTls


class TlsRequest:
    """TLS for one association: `arguments` go to `AE.associate`, `fault` says what went wrong.

    The files are read anew for each association, so that renewed ones need no restart.
    """

    def __init__(self, tls: ClientTls, host: str) -> None:
        self.failure: TlsFailure | None = None
        self._unusable = ""
        self._name = tls.host_name or host
        self._context: ssl.SSLContext | None = None
        if tls.enabled:
            self._prepare(tls)

    def _prepare(self, tls: ClientTls) -> None:
        try:
            context = client_context(tls)
        except UnusableFile as error:
            self._unusable = str(error)
            return
        context.sslsocket_class = _telling_socket(self)
        self._context = context

    @property
    def unusable(self) -> str:
        """Why our own files cannot be used; empty when they can."""
        return self._unusable

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for pynetdicom's `AE.associate`; none without TLS."""
        return {} if self._context is None else {"tls_args": (self._context, self._name)}

    @property
    def fault(self) -> str:
        """Why the handshake failed, for a person; empty when it did not."""
        return "" if self.failure is None else EXPLANATIONS[self.failure]


def _telling_socket(request: TlsRequest) -> type[ssl.SSLSocket]:
    """Return a socket class that remembers why a handshake failed: pynetdicom only logs it."""

    class TellingSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            try:
                super().do_handshake(block)
            except OSError as error:
                request.failure = failure_of(error)
                raise

        def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
            # In TLS 1.3 the peer judges our certificate when for us the handshake is over.
            try:
                return super().recv(buflen, flags)
            except ssl.SSLError as error:
                request.failure = failure_of(error)
                raise

    return TellingSocket
