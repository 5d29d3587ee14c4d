"""Several receiver processes behind one port: real processes, killed and stopped."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from config.load import load_settings
from node.data_directory import DATABASE_FILE
from node.errors import ListenerFailed
from node.receive.receiver_process import process_count
from node.receivers import Receivers
from storage.associations import open_association, serving_receivers
from storage.database import Database
from storage.instances import instances_of_series
from storage.studies import StudyProgress, open_studies
from tests.integration.node_receive.mr_study import ROOT, mr_instance
from tests.integration.node_receive.sender import encoded
from tests.migrated_database import migrated_database
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import A_ASSOCIATE_RJ, RawPeer, associate_request

EXPLICIT_MR = 3
SUCCESS = 0x0000
MOST = 4
FEW = b"TWO_AT_ONCE"


class Node:
    """Two receivers of a node, with what they share."""

    def __init__(self, folder: Path) -> None:
        data_dir = folder / "data"
        data_dir.mkdir(mode=0o700)
        self.db: Database = migrated_database(data_dir / DATABASE_FILE)
        config = folder / "node.yaml"
        senders = [{"ae_title": "PACS"}, {"ae_title": FEW.decode(), "max_associations": 2}]
        receive = {"port": 0, "processes": 2, "max_associations": MOST, "senders": senders}
        content = {"node": {"data_dir": str(data_dir)}, "receive": receive}
        config.write_text(yaml.safe_dump(content | {"storage": {"disk_low_mib": 0}}))
        self.settings = load_settings(config)
        self.changes = threading.Semaphore(0)
        self.receivers = Receivers(self.settings, config, self.db, self.changes.release)
        self.port = 0

    def start(self) -> Node:
        self.port = self.receivers.start().port
        wait_until(lambda: len(self.receivers.pids()) == 2, what="two receivers")
        return self

    def progress(self, study: int) -> StudyProgress:
        (found,) = (
            each
            for each in open_studies(self.db)
            if each.study.header.study_instance_uid == f"{ROOT}.{study}"
        )
        return found


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.receivers.stop(10)
    node.db.close()


@pytest.fixture
def node(stopped: Node) -> Node:
    return stopped.start()


def _store(peer: RawPeer, study: int, number: int) -> int:
    series = f"{ROOT}.{study}.1"
    dataset = mr_instance(number, study=f"{ROOT}.{study}", series=series)
    return peer.store(EXPLICIT_MR, f"{series}.{number}", encoded(dataset))


def _owner_pid(owner: str | None) -> int:
    assert owner is not None
    return int(owner.rpartition("/")[2])


def _serving(node: Node) -> set[int]:
    return {_owner_pid(owner) for owner in serving_receivers(node.db)}


def test_associations_spread_over_the_processes_and_all_is_kept(node: Node) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(node.port)) for _ in range(MOST)]
        for study, peer in enumerate(peers, start=1):
            peer.associate()
            assert [_store(peer, study, number) for number in (1, 2)] == [SUCCESS, SUCCESS]

        assert _serving(node) <= set(node.receivers.pids())
        for peer in peers:
            peer.release()

    # One call may be for several associations that end at the same moment.
    assert node.changes.acquire(timeout=20)
    for study in range(1, MOST + 1):
        assert len(instances_of_series(node.db, f"{ROOT}.{study}.1")) == 2
    wait_until(lambda: not _serving(node), what="the end of all associations")


def _on_both_processes(node: Node, stack: ExitStack) -> list[RawPeer]:
    """Associations that both processes serve; none while only one of them listens."""
    peers = [stack.enter_context(RawPeer(node.port)) for _ in range(MOST)]
    for peer in peers:
        peer.associate()
        assert _store(peer, 1, 1) == SUCCESS
    if len(_serving(node)) == 2:
        return peers
    for peer in peers:
        peer.release()
    wait_until(lambda: not _serving(node), what="the end of all associations")
    return []


def test_the_same_study_from_two_senders_at_once_is_kept_once(node: Node) -> None:
    """Each of the two processes takes every instance, at about the same moment."""
    with ExitStack() as stack:
        peers = wait_until(lambda: _on_both_processes(node, stack), what="both processes")
        with ThreadPoolExecutor(MOST) as threads:
            for number in range(2, 22):
                sent = [threads.submit(_store, peer, 1, number) for peer in peers]
                assert [one.result() for one in sent] == [SUCCESS] * MOST
        assert node.progress(1).running_associations == MOST
        for peer in peers:
            peer.release()

    wait_until(lambda: not _serving(node), what="the end of all associations")
    progress, data_dir = node.progress(1), node.settings.node.data_dir
    assert (dict(progress.series_counts), progress.is_resent) == ({f"{ROOT}.1.1": 21}, False)
    kept = {str(path.relative_to(data_dir)) for path in data_dir.rglob("*.dcm")}
    assert kept == {str(row.path) for row in instances_of_series(node.db, f"{ROOT}.1.1")}


def test_the_limit_of_associations_is_one_for_all_processes(node: Node) -> None:
    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(RawPeer(node.port)).associate()

        for _ in range(3):
            with RawPeer(node.port) as one_more:
                one_more.send(associate_request())
                assert one_more.receive() == (A_ASSOCIATE_RJ, bytes([0, 2, 3, 2]))


def test_the_limit_of_a_sender_is_one_for_all_processes_and_survives_their_death(
    node: Node,
) -> None:
    with ExitStack() as stack:
        owners: list[int] = []
        for study in (1, 2):
            peer = stack.enter_context(RawPeer(node.port))
            peer.associate(associate_request(calling=FEW))
            assert _store(peer, study, 1) == SUCCESS
            owners += _serving(node) - set(owners)
        with RawPeer(node.port) as one_more:
            one_more.send(associate_request(calling=FEW))
            assert one_more.receive() == (A_ASSOCIATE_RJ, bytes([0, 2, 3, 2]))

        for pid in owners:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _serving(node) & set(owners), what="lost associations")
    for _ in range(3):
        with RawPeer(node.port) as again:
            again.associate(associate_request(calling=FEW))
            again.release()


def test_a_killed_receiver_loses_its_own_associations_and_is_replaced(node: Node) -> None:
    with ExitStack() as stack:
        owners: dict[int, int] = {}
        peers = {study: stack.enter_context(RawPeer(node.port)) for study in (1, 2, 3, 4)}
        for study, peer in peers.items():
            before = serving_receivers(node.db)
            peer.associate()
            assert _store(peer, study, 1) == SUCCESS
            new = serving_receivers(node.db) - before
            owners[study] = _owner_pid(next(iter(new))) if new else 0
        victim = owners[1]

        os.kill(victim, signal.SIGKILL)

        wait_until(lambda: victim not in _serving(node), what="lost associations")
        assert node.changes.acquire(timeout=20)
        assert node.progress(1).last_association_end == "lost"
        survivors = [study for study in peers if node.progress(study).running_associations]
        for study in survivors:
            assert _store(peers[study], study, 2) == SUCCESS
            peers[study].release()
        lost = [study for study in peers if study not in survivors]
        assert all(node.progress(study).last_association_end == "lost" for study in lost)
    wait_until(
        lambda: len(set(node.receivers.pids()) - {victim}) == 2, what="a new receiver", timeout_s=60
    )
    with RawPeer(node.port) as again:
        again.associate()
        assert _store(again, 1, 2) == SUCCESS
        again.release()


def test_what_a_former_run_left_open_is_lost_when_this_one_can_receive(stopped: Node) -> None:
    open_association(
        stopped.db,
        calling_ae_title="PACS",
        called_ae_title="RADNODE",
        address="127.0.0.1",
        now=datetime.now(UTC),
        receiver="radnode/ab12cd34/4711",
    )

    stopped.start()

    assert serving_receivers(stopped.db) == frozenset()
    assert stopped.changes.acquire(timeout=20)


def test_stopping_ends_what_runs_and_frees_the_port(node: Node) -> None:
    with RawPeer(node.port) as peer:
        peer.associate()
        assert _store(peer, 1, 1) == SUCCESS
        pids = node.receivers.pids()

        node.receivers.stop(10)

        assert peer.abort_reason() == (0, 0)
    assert node.progress(1).last_association_end == "aborted"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(ConnectionRefusedError):
        RawPeer(node.port)


def test_a_port_that_is_taken_is_told(node: Node) -> None:
    receive = node.settings.receive.model_copy(update={"port": node.port})
    taken = node.settings.model_copy(update={"receive": receive})
    second = Receivers(taken, None, node.db, lambda: None)

    with pytest.raises(ListenerFailed, match=str(node.port)):
        second.start()
    second.stop(1)


def test_as_many_processes_run_as_are_asked_for_or_as_there_are_cores(node: Node) -> None:
    receive = node.settings.receive.model_copy(update={"processes": 0})

    assert process_count(node.settings) == 2
    by_cores = process_count(node.settings.model_copy(update={"receive": receive}))
    assert 1 <= by_cores <= min(4, os.cpu_count() or 1)
