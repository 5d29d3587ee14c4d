"""Peers that vanish, lie or babble; a full disk; a database that is down."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from node.errors import ListenerFailed
from node.receive.listener import Listener
from storage.studies import open_studies
from tests.integration.node_receive.ended_associations import SUCCESS, wait_for_end
from tests.integration.node_receive.mr_study import SERIES, mr_instance, write
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association, request, store
from tests.peers.dcmtk import storescu
from tests.peers.ports import wait_until

P_DATA_TF = 4

COMMAND_SET, DATA_SET = 3, 0


def _half_an_instance(assoc: Any, path: Path) -> socket.socket:
    """Send the command and the first bytes of a C-STORE, as a sender that then dies."""
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE

    primitive = C_STORE()
    primitive.MessageID = 7
    primitive.AffectedSOPClassUID = mr_instance().SOPClassUID
    primitive.AffectedSOPInstanceUID = mr_instance().SOPInstanceUID
    primitive.Priority = 2
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    message.command_set.CommandDataSetType = 1
    command = next(message.encode_msg(1, 16384)).presentation_data_value_list[0][1]
    connection: socket.socket = assoc.dul.socket.socket
    connection.sendall(_p_data(command))
    connection.sendall(_p_data(bytes([DATA_SET]) + path.read_bytes()[300:600]))
    return connection


def _p_data(value: bytes) -> bytes:
    item = struct.pack(">IB", len(value) + 1, 1) + value
    return struct.pack(">BBI", P_DATA_TF, 0, len(item)) + item


def test_a_sender_that_vanishes_in_an_instance_is_lost_and_leaves_no_file(
    running: Running, tmp_path: Path
) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))
    connection = _half_an_instance(assoc, write(mr_instance(2), tmp_path))
    wait_until(lambda: list(running.files.incoming_dir.iterdir()), what="half an instance")

    connection.shutdown(socket.SHUT_RDWR)

    wait_for_end(running, "lost")
    assert running.changes.acquire(timeout=10)


def test_a_sender_that_falls_silent_inside_a_pdu_is_given_up(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(network_timeout_s=1))
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    assoc.dul.socket.socket.sendall(struct.pack(">BBI", P_DATA_TF, 0, 1000) + b"\0" * 10)

    wait_for_end(running, "aborted")


def test_a_sender_that_falls_silent_between_pdus_is_aborted(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(network_timeout_s=1))
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    wait_for_end(running, "aborted")


def test_a_pdu_of_two_gigabytes_ends_the_association_at_once(
    running: Running, tmp_path: Path
) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    assoc.dul.socket.socket.sendall(struct.pack(">BBI", P_DATA_TF, 0, 1 << 31))

    wait_for_end(running, "aborted")


def test_a_command_that_is_none_costs_its_association_only(
    running: Running, tmp_path: Path
) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    assoc.dul.socket.socket.sendall(_p_data(bytes([COMMAND_SET]) + b"no command set"))

    wait_for_end(running, "aborted")
    with association(running.port) as other:
        assert store(other, write(mr_instance(2), tmp_path)) == [SUCCESS]


def test_what_is_not_dicom_at_all_does_no_harm(running: Running, tmp_path: Path) -> None:
    for babble in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b""):
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(babble)

    with association(running.port) as assoc:
        assert store(assoc, write(mr_instance(), tmp_path)) == [SUCCESS]


@pytest.mark.parametrize("babble", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_probes_of_the_port_use_up_no_association(
    start_listener: StartListener, tmp_path: Path, babble: bytes
) -> None:
    running = start_listener(receive_settings(max_associations=2))
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(babble)

    wait_until(lambda: _is_stored(running, tmp_path), what="a sender after the probes", timeout_s=5)


def _is_stored(running: Running, folder: Path) -> bool:
    assoc = request(running.port)
    if not assoc.is_established:
        return False
    statuses = store(assoc, write(mr_instance(), folder))
    assoc.release()
    return statuses == [SUCCESS]


def test_idle_connections_beyond_the_limit_are_dropped(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(max_associations=2))
    address = ("127.0.0.1", running.port)
    idle = [socket.create_connection(address) for _ in range(30)]

    def dropped() -> int:
        readable, _, _ = select.select(idle, [], [], 0)
        return len(readable)

    wait_until(lambda: dropped() >= 10, what="dropped connections")
    for connection in idle:
        connection.close()

    wait_until(lambda: _is_stored(running, tmp_path), what="the next sender", timeout_s=5)


def test_an_address_that_is_taken_is_told(running: Running, tmp_path: Path) -> None:
    second = Listener(
        receive_settings(port=running.port),
        running.db,
        running.files,
        on_change=lambda: None,
    )

    with pytest.raises(ListenerFailed, match=f"127.0.0.1:{running.port}"):
        second.start()
    second.stop()


def test_stopping_the_listener_aborts_who_is_still_there(running: Running, tmp_path: Path) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(), tmp_path))

    running.listener.stop()

    wait_until(lambda: assoc.is_aborted, what="the abort")
    (progress,) = open_studies(running.db)
    assert progress.last_association_end == "aborted"
    assert progress.running_associations == 0


@pytest.mark.peer("dcmtk")
def test_four_senders_at_once_lose_nothing(running: Running, tmp_path: Path) -> None:
    results: list[int] = []

    def send(sender: int) -> None:
        series = f"{SERIES}.{sender}"
        paths = [
            write(mr_instance(number, series=series), tmp_path / str(sender))
            for number in range(1, 11)
        ]
        done = storescu(running.port, paths, calling=CALLING, called=CALLED)
        results.append(done.returncode)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [0, 0, 0, 0]
    (progress,) = open_studies(running.db)
    assert progress.series_counts == {f"{SERIES}.{sender}": 10 for sender in range(1, 5)}


@pytest.mark.peer("dcmtk")
def test_a_large_instance_does_not_go_through_memory(running: Running, tmp_path: Path) -> None:
    size = 96 << 20
    dataset = mr_instance()
    dataset.Rows = dataset.Columns = 1
    dataset.PixelData = bytes(size)
    path = write(dataset, tmp_path)
    del dataset
    before = _reset_peak_memory()

    assert storescu(running.port, [path], calling=CALLING, called=CALLED).returncode == 0

    grown = _peak_memory() - before
    assert grown < size // 4, f"memory grew by {grown >> 20} MiB"


def _reset_peak_memory() -> int:
    """Return the resident memory in bytes, and begin to watch its peak anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10
