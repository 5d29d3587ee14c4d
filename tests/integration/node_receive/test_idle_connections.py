"""Who only connects, and says nothing or little, keeps nobody else out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.integration.node_receive.mr_study import SERIES, mr_instance
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import encoded
from tests.peers.certificates import Site, make_site
from tests.peers.dcmtk import echoscu, tls_options
from tests.peers.raw_dicom import RawPeer, associate_request

MOST_ASSOCIATIONS = 2
FLOOD = 100
HELLO = b"\x16\x03\x01\x02\x00\x01"
EXPLICIT_MR = 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def running(start_listener: StartListener, site: Site) -> Running:
    return start_listener(receive_settings(max_associations=MOST_ASSOCIATIONS, tls=site.server()))


@pytest.fixture
def connect() -> Iterator[Callable[[int, bytes], socket.socket]]:
    with ExitStack() as stack:

        def connected(port: int, first: bytes) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            connection.sendall(first)
            return stack.enter_context(connection)

        yield connected


def _store(peer: RawPeer, number: int) -> int:
    return peer.store(EXPLICIT_MR, f"{SERIES}.{number}", encoded(mr_instance(number)))


@pytest.mark.parametrize(
    "first", [b"", b"\1", associate_request()[:-1]], ids=["nothing", "a_byte", "all_but_one"]
)
def test_a_sender_comes_in_and_stays_while_others_only_connect(
    running: Running, connect: Callable[[int, bytes], socket.socket], first: bytes
) -> None:
    threads = threading.active_count()
    with RawPeer(running.port) as early:
        early.associate()
        idle = [connect(running.port, first) for _ in range(FLOOD)]
        late = RawPeer(running.port)
        late.associate()
        assert [_store(early, 1), _store(late, 2)] == [0, 0]
        assert idle[0].recv(99) == b""
        assert threading.active_count() - threads <= 2 * (MOST_ASSOCIATIONS + 16)
        early.release()
        late.release()
        late.connection.close()


@pytest.mark.peer("dcmtk")
def test_nor_do_handshakes_that_never_end_keep_a_tls_sender_out(
    running: Running, connect: Callable[[int, bytes], socket.socket], site: Site
) -> None:
    port = running.listener.tls_port
    idle = [connect(port, HELLO) for _ in range(FLOOD)]
    pacs = tls_options(site.pacs.certificate_file, site.pacs.key_file, site.ca_file)
    assert echoscu(port, calling=CALLING, called=CALLED, options=pacs).returncode == 0
    assert idle[0].recv(99) == b""
