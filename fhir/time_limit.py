"""A limit on the whole time of one HTTP exchange.

The time-outs of httpx hold for each read: a server that sends a byte now and then never meets
them. Here a timer shuts the connection, which ends whatever waits for it: handshake, header, body.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

_CONNECTED: Final = ".connect_tcp.complete"


class TimeLimit:
    """Ends the exchange that is made within it after `limit_s` seconds.

    `trace` belongs into the extensions of the request, which must open a connection of its own.
    """

    def __init__(self, limit_s: float) -> None:
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True
        self._over = threading.Event()
        self._line: socket.socket | None = None

    @property
    def is_over(self) -> bool:
        """The time has run out, so that whatever was read may be cut short."""
        return self._over.is_set()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._line is not None:
            self._line.close()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the connection as soon as there is one (httpx's extension `trace`)."""
        if not event.endswith(_CONNECTED):
            return
        # A descriptor of its own: TLS takes the first one over, and may close it at any time.
        self._line = info["return_value"].get_extra_info("socket").dup()
        if self.is_over:
            self._shut()

    def _end(self) -> None:
        self._over.set()
        self._shut()

    def _shut(self) -> None:
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
