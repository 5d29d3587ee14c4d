"""The listening socket: what pynetdicom leaves open about connections is closed here.

A peer that stops in the middle of a PDU, or announces one of 4 GiB, must neither hold a thread
for ever nor fill the memory.
"""

from __future__ import annotations

import gc
import socket
import time
from functools import partial
from socketserver import BaseServer
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

_LARGEST_ASSOCIATE_PDU = 1 << 20
_BACKLOG = 64
_SPARE_CONNECTIONS = 16
_COLLECTION_INTERVAL_S = 30
# PS3.8 table 9-10: awaiting an A-ASSOCIATE-RQ, and closing (here: after what was none).
_STATES_BEFORE_REQUEST = ("Sta2", "Sta13")


class ReceivingServer(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections with low latency and a time limit."""

    request_queue_size = _BACKLOG
    daemon_threads = True
    _collected_at = 0.0

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; every read and write on it ends within the network timeout."""
        connection, address = super().get_request()
        # The answer to a C-STORE is one small write that the sender waits for.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(self.ae.network_timeout)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Drop connections beyond those that can still be told that they are too many."""
        most = int(self.ae.maximum_associations) + _SPARE_CONNECTIONS
        return len(self.active_associations) < most

    def service_actions(self) -> None:
        """Collect ended associations: they are reference cycles that hold sockets and buffers."""
        if time.monotonic() - self._collected_at > _COLLECTION_INTERVAL_S:
            gc.collect()
            self._collected_at = time.monotonic()

    def shutdown(self) -> None:
        """Stop listening; pynetdicom's own version wants to be started by its AE."""
        BaseServer.shutdown(self)
        self.server_close()


def bound_reads(event: Any, *, max_pdu_bytes: int, timeout_s: float) -> None:
    """Limit size and time of each PDU (handler of `evt.EVT_CONN_OPEN`)."""
    wrapper = event.assoc.dul.socket
    wrapper.recv = partial(
        receive_exactly,
        wrapper.socket,
        limit=max(max_pdu_bytes, _LARGEST_ASSOCIATE_PDU),
        timeout_s=timeout_s,
    )


def give_up_waiting(event: Any) -> None:
    """Free the thread of a connection that closed before it asked for an association.

    Handler of `evt.EVT_CONN_CLOSE`. pynetdicom would wait on for the A-ASSOCIATE-RQ, and count
    the connection as an association: a load balancer's probes would use up all of them.
    """
    assoc = event.assoc
    is_before_request = assoc.dul.state_machine.current_state in _STATES_BEFORE_REQUEST
    if is_before_request and assoc.requestor.primitive is None:
        assoc.dul.to_user_queue.put(None)


def receive_exactly(
    connection: socket.socket, count: int, *, limit: int, timeout_s: float
) -> bytearray:
    """Read `count` bytes, or what comes until the peer closes.

    Raises:
        OSError: more than `limit` bytes are announced. TimeoutError: they come too slowly.
    """
    if count > limit:
        raise OSError(f"a PDU of {count} bytes is larger than {limit}")
    buffer = bytearray(count)
    view = memoryview(buffer)
    read = 0
    deadline = time.monotonic() + timeout_s
    while read < count:
        received = connection.recv_into(view[read:])
        if received == 0:
            return buffer[:read]
        read += received
        if time.monotonic() > deadline:
            raise TimeoutError("a PDU did not come in time")
    return buffer
