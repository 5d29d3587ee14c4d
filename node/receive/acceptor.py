"""The listening socket: accepts connections, and gives each one a thread."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

_NO_DESCRIPTOR_PAUSE_S = 0.1
_POLITENESS_S = 0.005
_LONGEST_POLITENESS_S = 0.025
_AT_WORST = 2
_TELL_EVERY_S = 60.0

_log = structlog.get_logger()


class Served(Protocol):
    """One connection that is being served.

    Who `is_idle` has not been admitted yet, or not any more, and may be dropped for others.
    """

    @property
    def is_idle(self) -> bool:
        """Whether there is no association on it; false once it was dropped."""

    def run(self) -> None:
        """Serve it to its end, and close it."""

    def stop(self) -> None:
        """Have `run` come to an end soon; from another thread."""

    def drop(self) -> None:
        """Close the connection at once; from another thread."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one connection comes from, and the thread that serves it."""

    address: str
    thread: threading.Thread


class _Dropped:
    """Tells the log of connections that were dropped, once a minute."""

    def __init__(self) -> None:
        self._count = 0
        self._told_at = -math.inf

    def tell(self) -> None:
        """Count one more."""
        self._count += 1
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            _log.warning("idle_connections_dropped", connections=self._count)
            self._count, self._told_at = 0, now


class Acceptor:
    """Accepts connections in a thread of its own, until `stop_accepting`.

    Several processes may accept from one socket: who serves more connections waits a moment
    longer before it takes the next one, so that they spread evenly.

    Of more than `most_connections` those are dropped that have been idle for longest, of the
    address that has most of them: who only connects, and says nothing, keeps nobody out.
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
        self._served: dict[Served, _Place] = {}
        self._dropped = _Dropped()
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
        for place in served.values():
            place.thread.join(max(0.0, deadline - time.monotonic()))

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
        if not self._has_room():
            connection.close()
            return
        try:
            self._start(connection, str(address[0]))
        except (OSError, RuntimeError) as error:  # the peer has gone; or no thread is left
            _log.error("not_accepted", reason=type(error).__name__)
            connection.close()

    def _has_room(self) -> bool:
        """Make room if need be; False where too many that were dropped have not ended yet."""
        with self._lock:
            served = dict(self._served)
        if len(served) >= self._most:
            idle = [(each, place.address) for each, place in served.items() if each.is_idle]
            if not idle or len(served) >= _AT_WORST * self._most:
                return False
            counts = Counter(address for _, address in idle)
            next(each for each, address in idle if counts[address] == max(counts.values())).drop()
            self._dropped.tell()
        return True

    def _start(self, connection: socket.socket, address: str) -> None:
        # The answer to a C-STORE is one small write that the sender waits for.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        served = self._serve(connection, address)
        thread = threading.Thread(
            target=self._run, args=(served,), name="receive-association", daemon=True
        )
        with self._lock:
            self._served[served] = _Place(address, thread)
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
