"""A disk that is full while a data set comes: an answer, nothing left, and then business."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.receive.listener import Listener
from storage.audit import list_audit
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.studies import list_studies
from tests.integration.node_receive.mr_study import SERIES, mr_instance, write
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    receive_settings,
)
from tests.integration.node_receive.small_disk import SmallDisk, small_disk
from tests.migrated_database import migrated_database
from tests.peers.dcmtk import storescu

pytestmark = pytest.mark.peer("dcmtk")

SIDE = 1200  # 2.7 MiB: many PDUs, and more than is left
OUT_OF_RESOURCES = "OutOfResources"


@pytest.fixture(params=[True, False], ids=["full_disk", "file_size_limit"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", mount=request.param) as made:
        yield made


@pytest.fixture
def running(disk: SmallDisk, tmp_path: Path) -> Iterator[Running]:
    db = migrated_database(tmp_path / "radnode.db")
    files = InstanceFiles(disk.folder / "data")
    settings, changes = receive_settings(), threading.Semaphore(0)
    listener = Listener(settings, db, files, on_change=changes.release)
    yield Running(listener, listener.start(), db, files, settings, changes)
    listener.stop()
    db.close()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write(mr_instance(1, side=SIDE), tmp_path / "sent")


def _files(running: Running) -> list[Path]:
    return [path for path in running.files.data_dir.rglob("*") if path.is_file()]


@pytest.mark.parametrize("left_kib", [512, 0], ids=["in_the_middle", "from_the_start"])
def test_a_disk_that_is_full_is_answered_and_the_transfer_succeeds_when_there_is_space(
    running: Running,
    disk: SmallDisk,
    large: Path,
    left_kib: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with disk.filled(left_kib=left_kib):
        refused = storescu(running.port, [large], calling=CALLING, called=CALLED)
        left_behind = _files(running)

    assert OUT_OF_RESOURCES in refused.stdout, refused.stdout
    assert "Abort" not in refused.stdout
    assert left_behind == []
    assert list_studies(running.db, 10) == ()
    again = storescu(running.port, [large], calling=CALLING, called=CALLED)
    assert again.returncode == 0, again.stdout
    (record,) = instances_of_series(running.db, SERIES)
    assert _files(running) == [running.files.absolute(record.path)]
    assert "disk_full" in "".join(capfd.readouterr())


def test_a_full_disk_is_told_once_an_association_in_the_audit_trail(
    running: Running, disk: SmallDisk, tmp_path: Path
) -> None:
    sent = [write(mr_instance(number, side=SIDE), tmp_path / "two") for number in (1, 2)]
    with disk.filled(left_kib=512):
        refused = storescu(running.port, sent, calling=CALLING, called=CALLED, options=["-nh"])

    assert refused.stdout.count(OUT_OF_RESOURCES) == 2, refused.stdout
    (entry,) = (entry for entry in list_audit(running.db, 10) if entry.event == "disk_full")
    assert (entry.outcome, entry.actor) == ("failure", CALLING)
    assert entry.detail["error"] in ("ENOSPC", "EFBIG")


def test_a_file_that_cannot_even_be_opened_is_answered(running: Running, large: Path) -> None:
    incoming = running.files.incoming_dir
    away = incoming.rename(incoming.with_name("away"))
    refused = storescu(running.port, [large], calling=CALLING, called=CALLED)
    away.rename(incoming)

    assert OUT_OF_RESOURCES in refused.stdout, refused.stdout
    assert _files(running) == []
    again = storescu(running.port, [large], calling=CALLING, called=CALLED)
    assert again.returncode == 0, again.stdout
