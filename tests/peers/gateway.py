"""A gateway between the node and a real peer, on which anything may befall a connection.

It carries bytes both ways, so that the peer behind it is the real one, and can be closed, silent,
deaf, cut off, ask for a stranger's certificate to be trusted, or lose what the peer answered.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

_PIECE = 65536
_LITTLE_BUFFER = 65536


@dataclass(frozen=True)
class Mood:
    """What befalls the connections that come: by default nothing."""

    is_silent: bool = False
    """Takes a connection and says nothing, not even in TLS."""
    most_bytes: int | None = None
    """So much of what the node sends is read, and then no more."""
    hangs_up: bool = False
    """After `most_bytes` the connection ends; otherwise it stays."""
    bytes_per_s: float | None = None
    """How fast the node is read."""
    instead: Callable[[bytes], bytes | None] = lambda request: None
    """What is answered instead of the peer's answer to a request, if anything."""
    loses: Callable[[bytes, bytes], bool] = lambda request, answer: False
    """Whether the line breaks before this answer to this request reaches the node."""


WELL = Mood()


class Gateway:
    """Listens on a port of 127.0.0.1 in a `with` block, and passes on to another port there.

    `mood`, `tls` and `is_open` may change at any time and hold for the connections to come.
    """

    def __init__(self, target_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.mood = WELL
        self.tls = tls
        self.connections = 0
        self._target_port = target_port
        self._listening = self._listen(0)
        self.port = int(self._listening.getsockname()[1])
        self._is_over = threading.Event()
        self._lines: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._is_open = True

    def __enter__(self) -> Gateway:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self.is_open = False
        self.drop()
        for thread in list(self._threads):
            thread.join(20)

    @property
    def is_open(self) -> bool:
        """Whether connections are taken; else they are refused, as by a machine that is off."""
        return self._is_open

    @is_open.setter
    def is_open(self, wanted: bool) -> None:
        if wanted == self._is_open:
            return
        self._is_open = wanted
        if wanted:
            self._listening = self._listen(self.port)
            self._start(self._accept)
        else:
            _end(self._listening)

    def drop(self) -> None:
        """End all connections that there are."""
        for line in list(self._lines):
            _end(line)

    def _listen(self, port: int) -> socket.socket:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What nobody reads must not vanish into buffers.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE_BUFFER)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        return listening

    def _start(self, act: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=act, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        listening = self._listening
        while True:
            try:
                line, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            self._lines.append(line)
            self._start(self._serve, line, self.mood)

    def _serve(self, line: socket.socket, mood: Mood) -> None:
        if mood.is_silent:
            self._is_over.wait()
            return
        try:
            near = self.tls.wrap_socket(line, server_side=True) if self.tls else line
            self._lines.append(near)
            request = near.recv(_PIECE)
            if not request:
                _end(near)
            elif (answer := mood.instead(request)) is not None:
                near.sendall(answer)
                _end(near)
            else:
                self._pass_on(near, request, mood)
        except OSError:
            # They did not agree on TLS, or the node gave up.
            _end(line)

    def _pass_on(self, near: socket.socket, request: bytes, mood: Mood) -> None:
        far = socket.create_connection(("127.0.0.1", self._target_port))
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines.append(far)
        self._start(self._back, near, far, request, mood)
        count, piece = 0, request
        try:
            while piece:
                count += len(piece)
                if mood.most_bytes is not None and count > mood.most_bytes:
                    break
                far.sendall(piece)
                if mood.bytes_per_s is not None:
                    time.sleep(len(piece) / mood.bytes_per_s)
                piece = near.recv(_PIECE)
            else:
                far.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        if not mood.hangs_up:
            self._is_over.wait()
        _end(near, far)

    def _back(self, near: socket.socket, far: socket.socket, request: bytes, mood: Mood) -> None:
        try:
            while (answer := far.recv(_PIECE)) and not mood.loses(request, answer):
                near.sendall(answer)
        except OSError:
            pass
        _end(near, far)


def _end(*lines: socket.socket) -> None:
    for line in lines:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()
