"""The listening socket: accepts connections, and gives each one a thread."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

_NO_DESCRIPTOR_PAUSE_S = 0.1
_POLITENESS_S = 0.001
_LONGEST_POLITENESS_S = 0.01

_log = structlog.get_logger()


class Served(Protocol):
    """One connection that is being served."""

    def run(self) -> None:
        """Serve it to its end, and close it."""

    def stop(self) -> None:
        """Have `run` come to an end soon; from another thread."""


class Acceptor:
    """Accepts connections in a thread of its own, until `stop_accepting`.

    Several processes may accept from one socket: who serves more connections waits a moment
    longer before it takes the next one, so that they spread evenly.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[socket.socket, str], Served],
        *,
        most_connections: int,
    ) -> None:
        self._listening = listening
        self._serve = serve
        self._most = most_connections
        self._lock = threading.Lock()
        self._served: dict[Served, threading.Thread] = {}
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="receive-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop_accepting(self) -> None:
        """Accept nothing more; what is being served goes on."""
        self._wake_writer.send(b"s")
        self._thread.join()
        self._listening.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def stop_serving(self, timeout_s: float) -> None:
        """Stop every connection, and wait for their threads so long at most."""
        with self._lock:
            served = dict(self._served)
        for each in served:
            each.stop()
        deadline = time.monotonic() + timeout_s
        for thread in served.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wake_reader.fileno() in ready:
                return
            time.sleep(min(len(self._served) * _POLITENESS_S, _LONGEST_POLITENESS_S))
            self._accept_one()

    def _accept_one(self) -> None:
        try:
            connection, address = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # another process took it, or the peer has gone
        except OSError as error:
            _log.error("not_accepted", reason=type(error).__name__)
            time.sleep(_NO_DESCRIPTOR_PAUSE_S)
            return
        if len(self._served) >= self._most:
            connection.close()
            return
        try:
            self._start(connection, str(address[0]))
        except (OSError, RuntimeError) as error:  # the peer has gone; or no thread is left
            _log.error("not_accepted", reason=type(error).__name__)
            connection.close()

    def _start(self, connection: socket.socket, address: str) -> None:
        # The answer to a C-STORE is one small write that the sender waits for.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        served = self._serve(connection, address)
        thread = threading.Thread(
            target=self._run, args=(served,), name="receive-association", daemon=True
        )
        with self._lock:
            self._served[served] = thread
        try:
            thread.start()
        except RuntimeError:
            self._forget(served)
            raise

    def _run(self, served: Served) -> None:
        try:
            served.run()
        finally:
            self._forget(served)

    def _forget(self, served: Served) -> None:
        with self._lock:
            self._served.pop(served, None)
