"""Bodies larger than any buffer: answers that come early, and servers that stop reading."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import TransientDelivery
from node.stow.exchange import HttpAnswer, post_instances
from node.stow.multipart import MultipartBody
from tests.integration.node_stow.stow_sending import destination

TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SIZE = 24 * 2**20


@contextmanager
def _server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            serve(connection)

    thread = threading.Thread(target=run)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web"
    thread.join()
    listener.close()


def _post(url: str, folder: Path) -> HttpAnswer:
    large = folder / "large.dcm"
    with large.open("wb") as file:
        file.truncate(SIZE)
    return post_instances(destination(url, timeout_s=1), MultipartBody([large]))


def _drain(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


def _answer_and_close(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(TOO_LARGE)


def _answer_and_drain(connection: socket.socket) -> None:
    _answer_and_close(connection)
    connection.shutdown(socket.SHUT_WR)
    _drain(connection)


@pytest.mark.parametrize("serve", [_answer_and_close, _answer_and_drain], ids=["close", "drain"])
def test_an_answer_before_the_end_of_the_body_is_heard(
    tmp_path: Path, serve: Callable[[socket.socket], None]
) -> None:
    with _server(serve) as url:
        assert _post(url, tmp_path).status == 413


def test_a_server_that_stops_reading_is_given_up(tmp_path: Path) -> None:
    over = threading.Event()

    def hold(_connection: socket.socket) -> None:
        over.wait(20)

    with _server(hold) as url:
        try:
            with pytest.raises(TransientDelivery, match="no answer in time"):
                _post(url, tmp_path)
        finally:
            over.set()
