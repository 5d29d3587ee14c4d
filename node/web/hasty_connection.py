"""A connection that is over after a few seconds, whatever its caller does."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTION_S: Final = 10.0


class HastyConnection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, which waits for a request for as long as it takes to come.

    Whoever is silent, or drips bytes, would keep one of few places for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and have the end set."""
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended by itself."""
        self._end.cancel()
        super().connection_lost(exc)
