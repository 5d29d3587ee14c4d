"""The web port: an HTTP(S) server in a thread of its own, for callers that nobody knows.

There are few connections at a time, each for a few seconds: nobody can take anything from
receiving and delivering.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import Final

import structlog
import uvicorn

from config.settings import Settings
from config.tls_settings import ServerTls
from config.web_settings import WebSettings
from node.chosen_ports import tell_port
from node.data_directory import WEB_PORT_FILE
from node.errors import ListenerFailed
from node.jwks import key_files
from node.receive.listening_sockets import listen
from node.receive.tls_port import TlsPort
from node.web.app import JWKS_PATH, web_app
from node.web.hasty_connection import HastyConnection
from node.web.published_keys import PublishedKeys

MOST_CONNECTIONS: Final = 16
_IDLE_S: Final = 5
_BEGIN_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.01

log = structlog.get_logger()


class WebServer:
    """Serves the public keys of this node at `web.port`, which is given."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen and answer from now on.

        Raises:
            ListenerFailed: the port is taken, or the files of TLS cannot be used.
        """
        web = self._settings.web
        tls = _tls_port(web)
        keys = PublishedKeys(key_files(self._settings))
        keys.current()
        app = web_app(keys.current, jwks_max_age_s=web.jwks_max_age_s)
        listening = listen(web.host, web.port or 0)
        port = int(listening.getsockname()[1])
        self._server = uvicorn.Server(_config(app, tls))
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="web", daemon=True
        )
        self._thread.start()
        self._await_begin(listening)
        tell_port(self._settings.node.data_dir / WEB_PORT_FILE, web.port, port)
        log.info("web_port_open", port=port, path=JWKS_PATH, is_tls=tls is not None)

    def stop(self) -> None:
        """Answer nobody any more; may be called after a half start."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()

    def _await_begin(self, listening: socket.socket) -> None:
        """Wait until uvicorn serves: `should_exit` before that would be overlooked."""
        assert self._server is not None
        assert self._thread is not None
        until = time.monotonic() + _BEGIN_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                listening.close()
                raise ListenerFailed("the web port does not begin to serve; see the log")
            time.sleep(_LOOK_AGAIN_S)


def _config(app: object, tls: TlsPort | None) -> uvicorn.Config:
    def context(*_unused: object) -> ssl.SSLContext:
        assert tls is not None
        return tls.following_context()

    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=HastyConnection,
        ws="none",
        lifespan="off",
        # What strangers ask for is no text for our log.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=1,
        ssl_context_factory=context if tls else None,
    )


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
