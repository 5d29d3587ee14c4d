from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.unsettled_files import UnsettledFiles
from tests.migrated_database import migrated_database
from tests.unit.storage.samples import SERIES, STUDY, incoming, receive


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.sqlite")
    yield database
    database.close()


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path / "data")


def _keep(files: InstanceFiles) -> str:
    with files.open_incoming() as part:
        part.write(b"x")
        return part.keep(STUDY, SERIES, f"{SERIES}.1")


def _settle(db: Database, files: InstanceFiles, path: str) -> None:
    unsettled = UnsettledFiles(db, files)
    unsettled.add(path)
    unsettled.settle()


@pytest.mark.parametrize("is_own_result", [False, True])
def test_a_file_whose_row_was_written_after_all_stays(
    db: Database, files: InstanceFiles, is_own_result: bool
) -> None:
    path = _keep(files)
    receive(db, incoming(1, is_own_result=is_own_result)._replace(path=path))
    _settle(db, files, path)
    assert files.absolute(path).exists()


def test_a_file_whose_row_was_never_written_goes(db: Database, files: InstanceFiles) -> None:
    path = _keep(files)
    _settle(db, files, path)
    assert not files.absolute(path).exists()
