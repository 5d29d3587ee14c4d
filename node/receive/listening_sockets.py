"""The sockets that a node listens on, opened once and shared by its receiver processes.

Every receiver accepts from the same socket. The port is therefore the same in all of them, also
where the system chose it; it is open from before the first receiver runs until after the last;
and a caller that one receiver had no time for any more is accepted by the next.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from config.settings import ReceiveSettings
from node.errors import ListenerFailed

_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class ListeningSockets:
    """The port for plain DICOM and the one for TLS, each where it is configured."""

    plain: socket.socket | None
    tls: socket.socket | None

    @property
    def port(self) -> int:
        """The plain port; 0 where there is none."""
        return _port(self.plain)

    @property
    def tls_port(self) -> int:
        """The TLS port; 0 where there is none."""
        return _port(self.tls)

    def close(self) -> None:
        """Close them in this process."""
        for one in (self.plain, self.tls):
            if one is not None:
                one.close()


def listening_sockets(receive: ReceiveSettings) -> ListeningSockets:
    """Take the configured addresses.

    Raises:
        ListenerFailed: one cannot be taken.
    """
    plain = None if receive.port is None else listen(receive.host, receive.port)
    try:
        tls = listen(receive.host, receive.tls.port) if receive.tls.enabled else None
    except ListenerFailed:
        if plain is not None:
            plain.close()
        raise
    return ListeningSockets(plain, tls)


def listen(host: str, port: int) -> socket.socket:
    """Take one address; 0 is a free port. `accept` on what it returns does not wait.

    Raises:
        ListenerFailed: it cannot be taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # `::` is every interface, of IPv4, too.
        is_every = address[0] == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(
            address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=is_every
        )
    except OSError as error:
        raise ListenerFailed(f"cannot listen on {host}:{port}: {_told(error)}") from error
    listening.setblocking(False)
    return listening


def _told(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program has this port: end it, or give this node another port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need rights that this user lacks: take another port"
    return error.strerror or type(error).__name__


def _port(listening: socket.socket | None) -> int:
    return 0 if listening is None else int(listening.getsockname()[1])
