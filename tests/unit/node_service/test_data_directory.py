from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import NodeSettings, Settings, StorageSettings
from node.data_directory import (
    DATABASE_FILE,
    LOCK_FILE,
    existing_data,
    kept_data,
    make_private,
    sole_user,
)
from node.errors import CannotStart
from storage.database import sqlite_url
from storage.migrate import migrate
from storage.overview import study_rows
from tests.peers.ports import wait_until

HOLDER = """
import pathlib, sys, time
from node.data_directory import sole_user
with sole_user(pathlib.Path(sys.argv[1])):
    pathlib.Path(sys.argv[1], "held").touch()
    time.sleep(60)
"""


def _settings(data_dir: Path) -> Settings:
    return Settings(node=NodeSettings(data_dir=data_dir))


def test_the_directory_and_what_is_made_in_it_later_are_for_this_user_only(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"

    make_private(data_dir)
    (data_dir / "file").touch()

    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert (data_dir / "file").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CannotStart, match=r"node\.data_dir .*file/data"):
        make_private(tmp_path / "file" / "data")


def test_a_second_user_of_the_directory_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with sole_user(tmp_path), pytest.raises(CannotStart, match="another radnode serve"):
        sole_user(tmp_path).__enter__()

    with sole_user(tmp_path):
        pass


def test_a_lock_that_is_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).mkdir()

    with pytest.raises(CannotStart, match=r"radnode\.lock cannot be opened .*: Is a directory"):
        sole_user(tmp_path).__enter__()


def test_an_error_of_the_holder_is_not_taken_for_one_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), sole_user(tmp_path):
        (tmp_path / "none").read_text()


def test_a_killed_user_leaves_the_directory_free(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)])
    wait_until((tmp_path / "held").exists, what="the other user")
    with pytest.raises(CannotStart):
        sole_user(tmp_path).__enter__()

    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    with sole_user(tmp_path):
        pass


def test_looking_at_a_node_that_never_ran_says_so_and_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no database yet"), existing_data(_settings(tmp_path)):
        pass

    assert list(tmp_path.iterdir()) == []


def test_looking_at_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).touch()

    with pytest.raises(CannotStart, match="radnode migrate"), existing_data(_settings(tmp_path)):
        pass


def test_the_database_lies_in_the_data_directory_unless_another_is_configured(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    settings = Settings(
        node=NodeSettings(data_dir=tmp_path),
        storage=StorageSettings(database_url=SecretStr(sqlite_url(elsewhere))),
    )

    for one in (settings, _settings(tmp_path)):
        with kept_data(one) as db:
            migrate(db)
        with existing_data(one) as db:
            assert study_rows(db, 10) == ()

    assert elsewhere.exists()
    assert (tmp_path / DATABASE_FILE).exists()
