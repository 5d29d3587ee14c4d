from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from storage.database import Database
from storage.instance_files import InstanceFiles
from tests.migrated_database import migrated_database


@pytest.fixture(autouse=True)
def _process_wide_state() -> Iterator[None]:
    """Give back what a process sets for itself: log handlers, hooks, and the umask."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning
    umask = os.umask(0o022)
    yield
    os.umask(umask)
    sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.sqlite")
    yield database
    database.close()


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path / "data")
