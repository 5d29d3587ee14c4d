"""Rows are written after the answers; who asks is told no less for it."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import get_args

import pytest

import storage.database
import storage.late_rows
from config.setting_types import Durability
from config.settings import Settings, StorageSettings
from storage.audit import list_audit
from storage.instances import instances_of_series
from storage.receipts import paths_in_receipts
from tests.integration.node_receive.ended_associations import (
    OUT_OF_RESOURCES,
    SUCCESS,
    wait_for_end,
)
from tests.integration.node_receive.mr_study import SERIES, mr_instance, mr_series, write
from tests.integration.node_receive.running_listener import (
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association, store
from tests.peers.ports import wait_until


@pytest.fixture(params=get_args(Durability))
def settings(request: pytest.FixtureRequest) -> Settings:
    quick = StorageSettings(disk_low_mib=0, durability=request.param)
    return receive_settings().model_copy(update={"storage": quick})


@pytest.fixture
def running(
    start_listener: StartListener, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Running:
    """A listener that puts rows off until somebody asks."""
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 600.0)
    monkeypatch.setattr("node.receive.listener.Listener._keep_house", lambda _self: None)
    return start_listener(settings)


def _acknowledged(running: Running) -> frozenset[str]:
    """What stands in receipts, as long as there are no rows."""
    return paths_in_receipts(running.files.data_dir)


def _numbers(running: Running) -> list[int | None]:
    return [one.instance_number for one in instances_of_series(running.db, SERIES)]


def test_a_sender_that_is_released_left_every_row(running: Running, tmp_path: Path) -> None:
    with association(running.port) as assoc:
        assert store(assoc, *mr_series(tmp_path, 5)) == [SUCCESS] * 5
        assert _numbers(running) == [1]
        assert len(_acknowledged(running)) == 4
    assert _numbers(running) == [1, 2, 3, 4, 5]
    assert not _acknowledged(running)


def test_another_service_on_the_association_finds_every_row(
    running: Running, tmp_path: Path
) -> None:
    verification = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")
    images = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1")
    with association(running.port, (images, verification)) as assoc:
        store(assoc, *mr_series(tmp_path, 4))
        assert assoc.send_c_echo().Status == SUCCESS
        assert _numbers(running) == [1, 2, 3, 4]


def test_a_sender_that_aborts_left_every_row_that_it_was_told_of(
    running: Running, tmp_path: Path
) -> None:
    with association(running.port) as assoc:
        store(assoc, *mr_series(tmp_path, 3))
        assoc.abort()
    wait_for_end(running, "aborted")
    assert _numbers(running) == [1, 2, 3]


def test_the_end_of_an_association_tells_what_its_instances_really_were(
    running: Running, tmp_path: Path
) -> None:
    sent = mr_series(tmp_path, 3)
    with association(running.port) as assoc:
        assert store(assoc, *sent, *sent[1:]) == [SUCCESS] * 5
    wait_for_end(running, "released")
    (entry,) = list_audit(running.db, 9)
    assert (entry.detail["stored"], entry.detail["duplicate"]) == ("3", "2")
    assert len(list((running.files.data_dir / "instances").rglob("*.dcm"))) == 3


def test_nothing_is_lost_while_the_database_is_locked_and_senders_hear_of_it(
    start_listener: StartListener,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.database, "BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 0.01)
    running = start_listener(settings)
    blocker = sqlite3.connect(tmp_path / "radnode.db", isolation_level=None)
    told: list[int] = []
    with association(running.port) as assoc:
        assert store(assoc, write(mr_instance(1), tmp_path)) == [SUCCESS]
        blocker.execute("BEGIN IMMEDIATE")
        for number in range(2, 1000):
            told += store(assoc, write(mr_instance(number), tmp_path))
            if told[-1] != SUCCESS:
                break
        blocker.execute("ROLLBACK")
    blocker.close()
    assert told[-1] == OUT_OF_RESOURCES
    acknowledged = [1, *(2 + at for at, status in enumerate(told) if status == SUCCESS)]
    wait_until(lambda: _numbers(running) == acknowledged, what="the rows of what was acknowledged")
    wait_until(lambda: not _acknowledged(running), what="no receipt")


def test_a_file_that_cannot_be_moved_after_the_answer_is_moved_later(
    start_listener: StartListener,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 0.01)
    running = start_listener(settings)
    with association(running.port) as assoc:
        first, *rest = mr_series(tmp_path, 4)
        assert store(assoc, first) == [SUCCESS]
        with monkeypatch.context() as patch:
            patch.setattr("storage.open_folders.OpenFolders.move_in", _no_space)
            answers = store(assoc, *rest)
            acknowledged = answers.count(SUCCESS)
            assert answers == [SUCCESS] * acknowledged + [OUT_OF_RESOURCES] * (3 - acknowledged)
            assert acknowledged
            assert _numbers(running) == [1]
    expected = [1, 2, 3, 4][: 1 + acknowledged]
    wait_until(lambda: _numbers(running) == expected, what="the rows of what was acknowledged")
    assert len(list((running.files.data_dir / "instances").rglob("*.dcm"))) == len(expected)
    wait_until(lambda: not _acknowledged(running), what="no receipt")


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "no space")
