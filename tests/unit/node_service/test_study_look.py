from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from config.settings import CompletenessSettings, NodeSettings, Settings
from node.study_look import StudyLook
from storage.database import Database, open_database, sqlite_url
from storage.dicom_records import StudyState
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.studies import get_study
from tests.unit.storage.samples import STUDY, incoming, receive

StartLook = Callable[[float], StudyLook]


@pytest.fixture
def start_look(db: Database, files: InstanceFiles, tmp_path: Path) -> Iterator[StartLook]:
    """Gives looks with a quiet time, and no pipeline: what is complete is refused."""
    started = []

    def start(quiet_time_s: float) -> StudyLook:
        settings = Settings(
            node=NodeSettings(data_dir=tmp_path / "data"),
            completeness=CompletenessSettings(
                quiet_time_s=quiet_time_s, quiet_time_after_abort_s=quiet_time_s
            ),
        )
        nothing: Any = lambda *_: None  # noqa: E731
        look = StudyLook(
            settings, db, files, {}, on_answer=nothing, on_jobs=nothing, kill_worker=nothing
        )
        started.append(look)
        return look

    yield start
    for look in started:
        look.close()


@contextmanager
def _statements() -> Iterator[list[str]]:
    """What SQLAlchemy executes within the block."""
    found: list[str] = []

    def note(*arguments: Any) -> None:
        found.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_an_idle_node_asks_the_database_for_no_rows(start_look: StartLook) -> None:
    look = start_look(10)
    with _statements() as at_first:
        look()
    with _statements() as then:
        look()

    assert at_first
    assert then == []


def test_what_another_process_has_received_is_found(
    start_look: StartLook, db: Database, tmp_path: Path
) -> None:
    look = start_look(0)
    look()
    other = open_database(sqlite_url(Path(db.file)))
    receive(other, incoming())
    other.close()
    look()

    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_an_open_study_is_looked_at_though_nothing_is_committed(
    start_look: StartLook, db: Database
) -> None:
    look = start_look(3600)
    receive(db, incoming(received_at=datetime.now(UTC)))
    look()
    with _statements() as then:
        look()

    assert then
    assert get_study(db, STUDY).state is StudyState.RECEIVING


def test_instances_are_not_counted_where_no_pacs_can_be_asked_for_its_own_count(
    start_look: StartLook, db: Database
) -> None:
    look = start_look(3600)
    receive(db, incoming(received_at=datetime.now(UTC) - timedelta(seconds=60)))
    with _statements() as then:
        look()

    assert not [statement for statement in then if "FROM instance " in statement]


def test_a_look_that_failed_is_taken_again(
    start_look: StartLook, db: Database, files: InstanceFiles
) -> None:
    receive(db, incoming())
    look = start_look(0)
    path = files.absolute(incoming().path)
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("no folder")
    with pytest.raises(StorageError):
        look()
    path.parent.unlink()
    look()

    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_a_note_that_cannot_be_read_now_holds_its_own_study_alone(
    start_look: StartLook, db: Database, files: InstanceFiles
) -> None:
    receive(db, incoming())
    receive(db, incoming(study="1.2.9", series="1.2.9.1"))
    note = incoming(9)._replace(sop_class_uid=KEY_OBJECT_SELECTION)
    receive(db, note)
    away = files.absolute(note.path)
    away.mkdir(parents=True)  # EISDIR, an error of the system
    look = start_look(0)
    with pytest.raises(StorageError, match="a rejection note cannot be read now"):
        look()

    assert get_study(db, "1.2.9").state is StudyState.ROUTED
    assert get_study(db, STUDY).state is StudyState.READY
    away.rmdir()
    look()
    assert get_study(db, STUDY).state is StudyState.ROUTED
