"""Peers that vanish, lie or babble; a full disk; a database that is down."""

from __future__ import annotations

import errno
import os
import select
import socket
import sqlite3
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import storage.database
import storage.instance_files
from node.errors import ListenerFailed
from node.receive.listener import Listener
from storage.database import open_database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.migrate import migrate
from storage.studies import list_studies, open_studies
from tests.integration.node_receive.mr_study import SERIES, mr_instance, write
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association, request, store
from tests.migrated_database import migrated_database
from tests.peers.dcmtk import storescu
from tests.peers.ports import wait_until
from tests.peers.postgres import PostgresServer

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
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


def _wait_for_end(running: Running, end: str) -> None:
    def ended() -> bool:
        (progress,) = open_studies(running.db)
        return progress.last_association_end == end

    wait_until(ended, what=f"an association that is {end}")
    wait_until(
        lambda: not list(running.files.incoming_dir.iterdir()), what="an empty incoming folder"
    )


def test_a_sender_that_vanishes_in_an_instance_is_lost_and_leaves_no_file(
    running: Running, tmp_path: Path
) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))
    connection = _half_an_instance(assoc, write(mr_instance(2), tmp_path))
    wait_until(lambda: list(running.files.incoming_dir.iterdir()), what="half an instance")

    connection.shutdown(socket.SHUT_RDWR)

    _wait_for_end(running, "lost")
    assert running.changes.acquire(timeout=10)


def test_a_sender_that_falls_silent_inside_a_pdu_is_given_up(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(network_timeout_s=1))
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    assoc.dul.socket.socket.sendall(struct.pack(">BBI", P_DATA_TF, 0, 1000) + b"\0" * 10)

    _wait_for_end(running, "aborted")


def test_a_sender_that_falls_silent_between_pdus_is_aborted(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(network_timeout_s=1))
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    _wait_for_end(running, "aborted")


def test_a_pdu_of_two_gigabytes_ends_the_association_at_once(
    running: Running, tmp_path: Path
) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    assoc.dul.socket.socket.sendall(struct.pack(">BBI", P_DATA_TF, 0, 1 << 31))

    _wait_for_end(running, "aborted")


def test_a_command_that_is_none_costs_its_association_only(
    running: Running, tmp_path: Path
) -> None:
    assoc = request(running.port)
    store(assoc, write(mr_instance(1), tmp_path))

    assoc.dul.socket.socket.sendall(_p_data(bytes([COMMAND_SET]) + b"no command set"))

    _wait_for_end(running, "aborted")
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


class _FillingFiles(InstanceFiles):
    """Files on a disk that becomes full while an association runs."""

    is_full = False

    def free_mib(self) -> int:
        """Return next to nothing once the disk is full."""
        return 1 if self.is_full else super().free_mib()


def test_a_disk_that_fills_up_is_answered_out_of_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.instance_files, "_LOOK_AGAIN_S", 0)
    settings = receive_settings()
    settings = settings.model_copy(
        update={"storage": settings.storage.model_copy(update={"disk_low_mib": 2})}
    )
    db = migrated_database(tmp_path / "radnode.db")
    files = _FillingFiles(tmp_path / "data")
    listener = Listener(settings, db, files, on_change=lambda: None)
    first, second = (write(mr_instance(number), tmp_path) for number in (1, 2))

    with association(listener.start()) as assoc:
        assert store(assoc, first) == [SUCCESS]
        files.is_full = True
        assert store(assoc, second) == [OUT_OF_RESOURCES]
        files.is_full = False
        assert store(assoc, second) == [SUCCESS]

    listener.stop()
    db.close()
    assert list(files.incoming_dir.iterdir()) == []


def test_a_write_without_space_is_answered_out_of_resources(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    # Where space is set aside late, only the sync finds that there is none.
    with association(running.port) as assoc, monkeypatch.context() as patch:
        patch.setattr(running.files, "sync_content", no_space)
        assert store(assoc, write(mr_instance(), tmp_path)) == [OUT_OF_RESOURCES]

    assert list_studies(running.db, 10) == ()
    assert list(running.files.incoming_dir.iterdir()) == []


def test_a_locked_database_is_answered_out_of_resources_until_it_is_free(
    start_listener: StartListener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.database, "BUSY_TIMEOUT_S", 0.2)
    running = start_listener()
    first, second = (write(mr_instance(number), tmp_path) for number in (1, 2))
    blocker = sqlite3.connect(tmp_path / "radnode.db", isolation_level=None)

    with association(running.port) as assoc:
        assert store(assoc, first) == [SUCCESS]
        blocker.execute("BEGIN IMMEDIATE")
        assert store(assoc, second) == [OUT_OF_RESOURCES]

    # The association has ended while its end could not be written.
    blocker.execute("ROLLBACK")
    blocker.close()
    _wait_for_end(running, "released")
    with association(running.port) as assoc:
        assert store(assoc, second) == [SUCCESS]
    _wait_for_two_files(running.files)


def _wait_for_two_files(files: InstanceFiles) -> None:
    """The file that was kept when the database fell silent has no row, and goes."""
    kept = files.data_dir / "instances"
    wait_until(lambda: len(list(kept.rglob("*.dcm"))) == 2, what="no file without a row")


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.mark.peer("postgresql")
def test_a_stopped_postgresql_is_answered_out_of_resources_until_it_is_back(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    db = open_database(postgres.new_database())
    migrate(db)
    files = InstanceFiles(tmp_path / "data")
    changes = threading.Semaphore(0)
    listener = Listener(receive_settings(), db, files, on_change=changes.release)
    port = listener.start()
    first, second = (write(mr_instance(number), tmp_path) for number in (1, 2))

    with association(port) as assoc:
        assert store(assoc, first) == [SUCCESS]
        postgres.stop()
        assert store(assoc, second) == [OUT_OF_RESOURCES]
        postgres.restart()
        assert store(assoc, second) == [SUCCESS]

    assert changes.acquire(timeout=20)
    assert len(instances_of_series(db, SERIES)) == 2
    _wait_for_two_files(files)
    listener.stop()
    db.close()


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
