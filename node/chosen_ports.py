"""The ports that the system has chosen (0 in the settings), written down for who calls us."""

from __future__ import annotations

from pathlib import Path

from config.settings import ReceiveSettings
from node.data_directory import PORT_FILE, TLS_PORT_FILE, WEB_PORT_FILE
from node.receive.listening_sockets import ListeningSockets
from storage.instance_files import durable_write


def tell_receiving_ports(
    data_dir: Path, receive: ReceiveSettings, sockets: ListeningSockets
) -> None:
    """Write down those of the listener that were chosen."""
    tell_port(data_dir / PORT_FILE, receive.port, sockets.port)
    if receive.tls.enabled:
        tell_port(data_dir / TLS_PORT_FILE, receive.tls.port, sockets.tls_port)


def tell_port(path: Path, wanted: int | None, port: int) -> None:
    """Write a port down, where it was chosen."""
    if wanted == 0:
        durable_write(path, f"{port}\n".encode())


def forget_ports(data_dir: Path) -> None:
    """Nobody listens there any more, or not yet."""
    for name in (PORT_FILE, TLS_PORT_FILE, WEB_PORT_FILE):
        (data_dir / name).unlink(missing_ok=True)
