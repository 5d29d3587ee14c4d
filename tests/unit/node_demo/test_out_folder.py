from __future__ import annotations

from pathlib import Path

import pytest

from node.demo.errors import OutFolderTaken
from node.demo.out_folder import fresh


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert fresh(tmp_path / "a" / "b").is_dir()


def test_a_folder_of_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    (fresh(tmp_path / "out") / "old.dcm").write_text("old")

    assert not (fresh(tmp_path / "out") / "old.dcm").exists()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    assert fresh(tmp_path / "out").is_dir()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not delete")

    with pytest.raises(OutFolderTaken):
        fresh(tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "do not delete"


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    with pytest.raises(OutFolderTaken):
        fresh(tmp_path / "out")
