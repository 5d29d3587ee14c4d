"""A disk or a database that fails is answered out of resources, and nothing is lost."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import storage.database
import storage.instance_files
import storage.late_rows
from node.receive.listener import Listener
from storage.database import open_database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.migrate import migrate
from storage.studies import list_studies
from tests.integration.node_receive.ended_associations import (
    OUT_OF_RESOURCES,
    SUCCESS,
    wait_for_end,
    wait_for_nothing_incoming,
)
from tests.integration.node_receive.mr_study import SERIES, mr_instance, write
from tests.integration.node_receive.running_listener import (
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association, store
from tests.migrated_database import migrated_database
from tests.peers.ports import wait_until
from tests.peers.postgres import PostgresServer


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
    wait_for_nothing_incoming(running)


def test_a_locked_database_is_answered_out_of_resources_until_it_is_free(
    start_listener: StartListener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.database, "BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(storage.late_rows, "MOST_QUEUED", 0)  # every row comes first
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
    wait_for_end(running, "released")
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
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.late_rows, "MOST_QUEUED", 0)  # every row comes first
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
