from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from node.receive.listener import Listener
from node.receive.services import Service
from storage.database import open_database, sqlite_url
from storage.instance_files import InstanceFiles
from tests.integration.node_receive.running_listener import (
    Running,
    StartListener,
    receive_settings,
)
from tests.migrated_database import write_migrated

HOUSEKEEPING_S = 0.02
"""Often, so that no test waits long for what can wait."""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The URL of a migrated database without any row."""
    path = tmp_path / "radnode.db"
    write_migrated(path)
    return sqlite_url(path)


@pytest.fixture
def start_listener(tmp_path: Path, database_url: str) -> Iterator[StartListener]:
    started: list[Running] = []

    def start(settings: Settings | None = None, *, services: tuple[Service, ...] = ()) -> Running:
        settings = settings or receive_settings()
        db = open_database(database_url)
        files = InstanceFiles(tmp_path / "data", settings.storage.durability)
        changes = threading.Semaphore(0)
        listener = Listener(
            settings,
            db,
            files,
            on_change=changes.release,
            services=services,
            housekeeping_s=HOUSEKEEPING_S,
        )
        running = Running(listener, listener.start(), db, files, settings, changes)
        started.append(running)
        return running

    yield start
    for running in started:
        running.listener.stop()
        running.db.close()


@pytest.fixture
def running(start_listener: StartListener) -> Running:
    return start_listener()
