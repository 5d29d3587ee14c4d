"""The number of a quarantined instance is given once, also where an earlier version began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from storage.audit import prune_audit
from storage.database import Database, open_database, sqlite_url
from storage.dicom_records import IncomingInstance
from storage.errors import Quarantined
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.migrate import SCRIPTS, migrate
from storage.quarantine import discard, list_quarantine, purge_quarantine
from storage.quarantine_release import release
from storage.table_types import Table
from tests.unit.storage.samples import PATIENT, incoming

BEFORE = "0011_dataset_digest"
STRANGER = replace(PATIENT, patient_id="PID-2", patient_name="Roe^R")


class Quarantine:
    """A node with one study; what contradicts it comes when a test says so."""

    def __init__(self, db: Database, files: InstanceFiles) -> None:
        self.db, self.files = db, files
        self._recorder = InstanceRecorder(db, files)
        self._came = 1
        self._recorder.record(self.on_disk(1))

    def comes(self) -> int:
        """One more instance contradicts what is known; the number that it gets."""
        self._came += 1
        one = self.on_disk(self._came)
        one = one._replace(study=incoming(self._came, patient=STRANGER).study)
        with pytest.raises(Quarantined) as caught:
            self._recorder.record(one)
        return caught.value.quarantine_id

    def on_disk(self, number: int) -> IncomingInstance:
        """An instance of the study's own patient, as its sender left it."""
        one = incoming(number)
        with self.files.open_incoming() as part:
            part.write(b"x")
            uids = one.study.study_instance_uid, one.series.series_instance_uid
            return one._replace(path=part.keep(*uids, one.sop_instance_uid))

    def discard(self, number: int) -> None:
        discard(self.db, self.files, number, actor="person")


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Database]:
    """The SQLite database of an earlier version, which gave numbers again."""
    db = open_database(sqlite_url(tmp_path / "radnode.db"))
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    with db.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
    yield db
    db.close()


def test_the_number_of_what_was_discarded_is_not_given_again(
    db: Database, files: InstanceFiles
) -> None:
    node = Quarantine(db, files)
    first, second = node.comes(), node.comes()
    node.discard(second)
    node.discard(first)
    assert node.comes() > second


def test_the_number_of_what_was_released_is_not_given_again(
    db: Database, files: InstanceFiles
) -> None:
    node = Quarantine(db, files)
    number = node.comes()
    release(db, files, number, actor="person")
    with pytest.raises(Quarantined) as caught:
        InstanceRecorder(db, files).record(node.on_disk(9))
    assert caught.value.quarantine_id > number


def test_the_number_of_what_was_purged_is_not_given_again(
    db: Database, files: InstanceFiles
) -> None:
    node = Quarantine(db, files)
    number = node.comes()
    purge_quarantine(db, files, older_than=datetime.now(UTC) + timedelta(hours=1))
    assert node.comes() > number


def test_an_upgrade_does_not_give_a_number_again_that_an_earlier_version_gave(
    earlier: Database, files: InstanceFiles
) -> None:
    node = Quarantine(earlier, files)
    given = [node.comes() for _ in range(3)]
    node.discard(given[2])
    node.discard(given[1])
    migrate(earlier)
    assert node.comes() == given[2] + 1


def test_an_upgrade_of_an_empty_quarantine_does_not_begin_anew(
    earlier: Database, files: InstanceFiles
) -> None:
    node = Quarantine(earlier, files)
    given = [node.comes() for _ in range(2)]
    for number in given:
        node.discard(number)
    migrate(earlier)
    assert node.comes() == given[1] + 1


def test_an_upgrade_knows_of_numbers_of_which_the_audit_trail_was_pruned(
    earlier: Database, files: InstanceFiles
) -> None:
    node = Quarantine(earlier, files)
    given = [node.comes() for _ in range(2)]
    for number in given:
        node.discard(number)
    prune_audit(earlier, older_than=datetime.now(UTC) + timedelta(hours=1))
    migrate(earlier)
    assert node.comes() > given[1]


def test_a_database_in_which_nothing_was_ever_quarantined_begins_with_one(
    earlier: Database, files: InstanceFiles
) -> None:
    migrate(earlier)
    assert Quarantine(earlier, files).comes() == 1


def test_an_upgrade_keeps_what_is_in_quarantine_and_all_that_the_table_promises(
    earlier: Database, files: InstanceFiles
) -> None:
    node = Quarantine(earlier, files)
    numbers = [node.comes() for _ in range(3)]
    node.discard(numbers[0])
    before, rows = list_quarantine(earlier, 10), _rows(earlier)
    indexes = _indexes(earlier)
    migrate(earlier)
    assert _rows(earlier) == rows
    assert list_quarantine(earlier, 10) == before
    assert _indexes(earlier) == indexes
    with earlier.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Table.metadata) == []
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    release(earlier, files, numbers[1], actor="person")


def _rows(db: Database) -> list[tuple[Any, ...]]:
    with db.connect() as connection:
        found = connection.execute(text("SELECT * FROM quarantine ORDER BY id"))
        return [tuple(row) for row in found]


def _indexes(db: Database) -> list[tuple[Any, ...]]:
    of_table = "type = 'index' AND tbl_name = 'quarantine'"
    told = f"SELECT name, sql FROM sqlite_master WHERE {of_table} ORDER BY name"
    with db.connect() as connection:
        return [tuple(row) for row in connection.execute(text(told))]
