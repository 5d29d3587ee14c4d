"""A server whose answer comes one byte at a time, for longer than anybody should wait."""

from __future__ import annotations

import socket
import ssl
import threading
from types import TracebackType
from typing import Self

PAUSE_S = 0.1
MOST_BYTES = 300


class DrippingServer:
    """Answers its first connection with `start`, and then with a byte every `PAUSE_S`."""

    def __init__(self, start: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._start = start
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(60)
        self._thread = threading.Thread(target=self._serve)
        self.has_ended = False
        """It came to the end of its bytes, before the client hung up."""

    @property
    def base_url(self) -> str:
        """Where it listens."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}/fhir"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            connection.sendall(self._start)
            self.has_ended = self._drip(connection)

    def _drip(self, connection: socket.socket) -> bool:
        pause = threading.Event()
        for _ in range(MOST_BYTES):
            pause.wait(PAUSE_S)
            try:
                connection.sendall(b"H" if not self._start else b"x")
            except OSError:
                return False
        return True
