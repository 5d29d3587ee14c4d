"""Folders that are held open: every file moves into its own, whoever else moves what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.open_folders import OpenFolders


def test_a_folder_that_another_thread_forgets_meanwhile_is_still_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.open_folders.MOST_OPEN", 1)
    folders, rename = OpenFolders(tmp_path), os.rename
    (tmp_path / "a.part").write_bytes(b"a")
    (tmp_path / "b.part").write_bytes(b"b")

    def while_another_comes(path: Path, name: str, *, dst_dir_fd: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("os.rename", rename)
            folders.move_in(tmp_path / "b.part", "instances/2/b.dcm")
        rename(path, name, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr("os.rename", while_another_comes)
    folders.move_in(tmp_path / "a.part", "instances/1/a.dcm")
    assert (tmp_path / "instances/1/a.dcm").read_bytes() == b"a"
    assert (tmp_path / "instances/2/b.dcm").read_bytes() == b"b"
