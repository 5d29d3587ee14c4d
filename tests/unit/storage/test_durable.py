from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from storage.durable import durable_write
from storage.errors import OutOfSpace, StorageError
from storage.instance_files import InstanceFiles


def test_content_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "made" / "report.json"
    durable_write(path, b"first")
    durable_write(path, b"second")
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    durable_write(path, b"first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace):
        durable_write(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_names_no_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        durable_write(tmp_path / "file" / "1.2.3", b"")
    assert "1.2.3" not in str(caught.value)


def test_a_file_in_the_place_of_a_folder_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "instances").touch()
    with pytest.raises(StorageError, match="instances in the data directory is no directory"):
        InstanceFiles(tmp_path)


def test_a_file_in_the_place_of_a_folder_of_a_study_is_told_without_its_uid(
    tmp_path: Path,
) -> None:
    files = InstanceFiles(tmp_path)
    (tmp_path / "instances" / "1.2.3").touch()
    with (
        files.open_incoming() as part,
        pytest.raises(StorageError, match="a folder below instances") as caught,
    ):
        part.keep("1.2.3", "1.2.3.1", "1.2.3.1.1")
    assert "1.2.3" not in str(caught.value)
