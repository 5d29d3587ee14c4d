"""What the short way has acknowledged is not lost, and what it has not leaves nothing behind."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import node.receive.listener
import storage.late_rows
from node.receive import short_run
from node.receive.message_stream import MessageStream
from node.receive.short_way import ShortWay, short_way
from node.receive.upper_layer import UpperLayer
from storage.abandoned_receipts import Found, record_abandoned
from storage.database import open_database, sqlite_url
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series
from storage.receipts import Receipts, pages, paths_in_receipts
from tests.integration.node_receive.both_ways import (
    END,
    MR,
    QUICK,
    Node,
    answers,
    by_both_ways,
    command,
    compiled,
    counted,
    node_in,
    slice_of,
    stored,
)
from tests.integration.node_receive.mr_study import SERIES
from tests.migrated_database import migrated_database
from tests.peers.raw_dicom import A_RELEASE_RQ, RawPeer, associate_request, p_data, pdu, pdv

NINE = f"{SERIES}.9"
FILE, PAGE = 3, 9


def _send(peer: RawPeer, *numbers: int) -> list[tuple[int, ...]]:
    told: list[tuple[int, ...]] = []
    for number in numbers:
        peer.send(stored(number, slice_of(number)))
        told += answers(peer, 1)
    return told


def _numbers(folder: Path) -> list[int | None]:
    db = open_database(sqlite_url(folder / "radnode.db"))
    try:
        return [one.instance_number for one in instances_of_series(db, SERIES)]
    finally:
        db.close()


@pytest.fixture
def rows_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are put off until somebody asks."""
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 600.0)
    monkeypatch.setattr("node.receive.listener.Listener._keep_house", lambda _self: None)


def test_what_a_killed_node_acknowledged_is_recorded_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_wait: None
) -> None:
    begun = command(NINE) + p_data(pdv(MR, 0, slice_of(9)[:700]))
    here, copy = tmp_path / "here", tmp_path / "copy"
    here.mkdir()
    with counted(monkeypatch) as ends, node_in(here, ends, QUICK) as node:
        with RawPeer(node.port) as peer:
            peer.associate()
            assert _send(peer, *range(1, 8)) == [(number, 0) for number in range(1, 8)]
            peer.send(begun)
            shutil.copytree(here, copy)
        node.await_end()
        assert ends.count(compiled.STORED) >= 4

    assert _numbers(copy) == [1]
    db, files = open_database(sqlite_url(copy / "radnode.db")), InstanceFiles(copy / "data", "os")
    assert record_abandoned(db, files) == Found(recorded=6)
    db.close()
    assert _numbers(copy) == _numbers(here) == list(range(1, 8))
    digests = [
        [one.dataset_digest for one in instances_of_series(each, SERIES)]
        for each in (open_database(sqlite_url(folder / "radnode.db")) for folder in (here, copy))
    ]
    assert digests[0] == digests[1]
    assert not pages(copy / "data")


def test_a_failure_after_the_answer_loses_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with (
        counted(monkeypatch) as ends,
        node_in(tmp_path, ends, QUICK) as node,
        RawPeer(node.port) as peer,
    ):
        peer.associate()
        _send(peer, 1, 2, 3, 4)
        with monkeypatch.context() as patch:
            patch.setattr(InstanceRecorder, "came_back", fail)
            assert _send(peer, 5) == [(5, 0)]
            assert answers(peer, 1)[0][0] == END
    assert ends[-1] == compiled.STORED
    (place,) = (place for place in paths_in_receipts(tmp_path / "data") if f"{SERIES}.5." in place)
    db, files = open_database(sqlite_url(tmp_path / "radnode.db")), InstanceFiles(tmp_path / "data")
    files.bring_in(place)
    assert files.absolute(place).read_bytes().endswith(slice_of(5))
    db.close()


def test_a_file_of_which_it_is_not_sure_that_it_is_whole_is_looked_at_before_its_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, check_size, given = list[str](), InstanceFiles.check_size, short_run._given

    def look(files: InstanceFiles, place: str, size_bytes: int) -> None:
        looked.append(place)
        check_size(files, place, size_bytes)

    def not_sure(likes: Any, one: Any) -> tuple[IncomingInstance, str]:
        incoming, digest = given(likes, one)
        return incoming, "" if incoming.instance_number == 5 else digest

    monkeypatch.setattr(InstanceFiles, "check_size", look)
    # As where closing a file fails, or moving it.
    monkeypatch.setattr(short_run, "_given", not_sure)
    with (
        counted(monkeypatch) as ends,
        node_in(tmp_path, ends, QUICK) as node,
        RawPeer(node.port) as peer,
    ):
        peer.associate()
        _send(peer, 1, 2, 3, 4, 5, 6)
    assert ends[-2:] == [compiled.STORED, compiled.STORED]
    assert _numbers(tmp_path) == [1, 2, 3, 4, 5, 6]
    # The first one goes the long way, and its file is sure.
    assert [place.split("/")[-1].split(".")[-3] for place in looked] == ["5"]


@pytest.mark.parametrize("which", [FILE, PAGE])
def test_where_the_short_way_cannot_write_the_long_way_does(
    which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            return _send(peer, *range(1, 8))

    told, found, ends = by_both_ways(monkeypatch, send, full=which)

    assert told == [(number, 0) for number in range(1, 8)]
    assert len(found.rows) == 7
    assert set(ends) == {compiled.FAILED}


@pytest.mark.parametrize("at", [0, 700])
def test_a_node_that_stops_aborts_what_has_not_come_in_full(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.receive.listener, "_GRACE_S", 0.2)
    begun = command(NINE) + (p_data(pdv(MR, 0, slice_of(9)[:at])) if at else b"")

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = _send(peer, 1, 2, 3, 4)
            peer.send(begun)
            stopping = threading.Thread(target=node.listener.stop)
            stopping.start()
            told += answers(peer, 1)
        stopping.join()
        return told

    told, found, ends = by_both_ways(monkeypatch, send)

    assert told[4][0] == END
    assert len(found.rows) == 4
    assert ends


def test_many_senders_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 0.001)

    def send(port: int, first: int) -> None:
        with RawPeer(port) as peer:
            peer.associate()
            numbers = range(first, first + 25)
            assert _send(peer, *numbers) == [(number, 0) for number in numbers]
            if first % 2:
                peer.send(pdu(A_RELEASE_RQ))
            else:
                peer.send(command(NINE) + p_data(pdv(MR, 0, slice_of(9)[:700])))

    with counted(monkeypatch) as ends, node_in(tmp_path, ends, QUICK) as node:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(send, [node.port] * 6, range(100, 701, 101)))
        node.await_end()
    assert len(_numbers(tmp_path)) == 6 * 25
    assert ends.count(compiled.STORED) > 50
    assert not list((tmp_path / "data" / "receipts").iterdir())


def test_a_sender_that_does_not_wait_for_its_answer_has_its_instances_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = associate_request() + b"".join(stored(at, slice_of(at)) for at in range(1, 9))
    with counted(monkeypatch) as ends, node_in(tmp_path, ends, QUICK) as node:
        with RawPeer(node.port) as peer:
            peer.send(wire)
            peer.connection.shutdown(socket.SHUT_WR)
            while peer.connection.recv(1 << 16):
                pass
        node.await_end()
    assert _numbers(tmp_path) == list(range(1, 9))
    assert compiled.STORED in ends


def test_an_encrypted_connection_has_no_short_way(tmp_path: Path) -> None:
    db = migrated_database(tmp_path / "radnode.db")
    files = InstanceFiles(tmp_path / "data", "os")
    recorder = InstanceRecorder(db, files, Receipts(files.data_dir))
    ours, theirs = socket.socketpair()
    ways = [_way(ours, files, recorder)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured = context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
    ways.append(_way(secured, files, recorder))
    assert [way is not None for way in ways] == [True, False]
    secured.close()
    theirs.close()
    recorder.close()
    db.close()


def _way(
    connection: socket.socket, files: InstanceFiles, recorder: InstanceRecorder
) -> ShortWay | None:
    layer = UpperLayer(connection, max_pdu_bytes=16384, timeout_s=1)
    messages = MessageStream(layer, {MR}, timeout_s=1)
    return short_way(layer, messages, files, recorder, 0)
