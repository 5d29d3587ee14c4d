"""Sends as fast as the peer takes it, and notices when it takes nothing any more.

pynetdicom (3.0.4) puts all of a message into a queue at once and waits for the answer from then
on: whatever a link carries in more than `dimse_timeout` never arrives, however often it is tried,
and the whole file is in memory. And it sends without a time limit: a peer that keeps the connection
and reads no more, as half a failover does, holds the sender for ever.
"""

from __future__ import annotations

import queue
from typing import Any

from pynetdicom.pdu_primitives import P_DATA

_MOST_WAITING = 8
"""PDUs that wait for the socket: few, because the wait for the answer begins when the last came."""

_LOOK_AGAIN_S = 0.05
_IDLE = "Sta1"
"""The state machine's state without a connection (PS3.8 9.2.1)."""


class PacedQueue(queue.Queue[Any]):
    """What pynetdicom's DUL provider is to send; takes data only as it gets rid of it."""

    def __init__(self, provider: Any) -> None:
        super().__init__()
        self._provider = provider

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add something to be sent; data waits for room, or for the connection's end."""
        if isinstance(item, P_DATA):
            self._wait_for_room()
        super().put(item, block, timeout)

    def _wait_for_room(self) -> None:
        with self.not_full:
            while self._qsize() >= _MOST_WAITING and self._is_connected():
                self.not_full.wait(_LOOK_AGAIN_S)

    def _is_connected(self) -> bool:
        provider = self._provider
        return bool(provider.is_alive()) and provider.state_machine.current_state != _IDLE


def pace_sending(event: Any) -> None:
    """Bound what waits, and how long a peer may read nothing (of `evt.EVT_CONN_OPEN`)."""
    provider = event.assoc.dul
    provider.to_provider_queue = PacedQueue(provider)
    connection = provider.socket.socket
    if connection is not None:
        connection.settimeout(event.assoc.network_timeout)
