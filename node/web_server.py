"""The web port: a small HTTP(S) server for callers that nobody knows.

Each connection has a thread, a few seconds over all, and one request; there are few at a time. Who
drips bytes, or opens many connections, takes nothing from receiving and delivering.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn
from typing import Any, Final

import structlog

from config.settings import Settings
from config.tls_settings import ServerTls
from config.web_settings import WebSettings
from node.chosen_ports import tell_port
from node.data_directory import WEB_PORT_FILE
from node.jwks import key_files
from node.published_keys import PublishedKeys
from node.receive.listening_sockets import listen
from node.receive.tls_port import HandshakeFailed, TlsPort, close_softly
from node.web_requests import JWKS_PATH, RequestHandler, WebAnswer, jwks_answer

CONNECTION_S: Final = 10.0
MOST_CONNECTIONS: Final = 16
_POLL_S: Final = 0.2

log = structlog.get_logger()


class WebServer:
    """Serves the public keys of this node, where `web.port` is given; else nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen and answer from now on.

        Raises:
            ListenerFailed: the port is taken, or the files of TLS cannot be used.
        """
        web = self._settings.web
        if web.port is None:
            return
        tls = _tls_port(web)
        keys = PublishedKeys(key_files(self._settings))
        keys.current()

        def jwks(known_tag: str) -> WebAnswer:
            return jwks_answer(keys.current(), web.jwks_max_age_s, known_tag)

        listening = listen(web.host, web.port)
        self._server = _Server(listening, partial(RequestHandler, jwks), tls)
        port = int(listening.getsockname()[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="web", daemon=True
        )
        self._thread.start()
        tell_port(self._settings.node.data_dir / WEB_PORT_FILE, web.port, port)
        log.info("web_port_open", port=port, path=JWKS_PATH, is_tls=tls is not None)

    def stop(self) -> None:
        """Answer nobody any more; may be called after a half start."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


def _tls_port(web: WebSettings) -> TlsPort | None:
    if web.certificate_file is None:
        return None
    tls = ServerTls(
        enabled=True,
        certificate_file=web.certificate_file,
        key_file=web.key_file,
        require_client_certificate=False,
    )
    return TlsPort(tls, "web")


class _Server(ThreadingMixIn, BaseServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listening: socket.socket,
        handler: Callable[..., BaseHTTPRequestHandler],
        tls: TlsPort | None,
    ) -> None:
        super().__init__(listening.getsockname(), handler)
        self._listening = listening
        self._tls = tls
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def fileno(self) -> int:
        return self._listening.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        return self._listening.accept()

    def server_close(self) -> None:
        self._listening.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Here, in the accepting thread: no thread is made for a caller without a place.
        if not self._places.acquire(blocking=False):
            request.close()
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._places.release()
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.error("web_request_failed", exc_info=True)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        connection: socket.socket = request
        try:
            connection = self._secured(connection)
            # It ends whoever sends a byte now and then, too.
            timer = threading.Timer(CONNECTION_S, _break, (connection,))
            timer.daemon = True
            timer.start()
            try:
                self.finish_request(connection, client_address)
            finally:
                timer.cancel()
        except (HandshakeFailed, OSError, ValueError):
            log.debug("web_connection_ended")
        except Exception:  # the request's outermost edge
            log.error("web_request_failed", exc_info=True)
        finally:
            close_softly(connection)
            self._places.release()

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._tls is not None:
            return self._tls.handshake(connection, CONNECTION_S)
        connection.settimeout(CONNECTION_S)
        return connection


def _break(connection: socket.socket) -> None:
    # Of the socket below TLS: its reader is in another thread.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
