from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import storage.database
from storage.database import Database, open_database, sqlite_url
from storage.errors import DatabaseInUse, DatabaseUnavailable
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series, record_instance
from storage.migrate import migrate
from storage.sole_node import SoleNode, sole_node
from storage.write_turn import WriteTurn
from tests.peers.postgres import PostgresServer
from tests.unit.storage.samples import SERIES, incoming

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from storage.write_turn import WriteTurn

with WriteTurn(Path(sys.argv[1])).taken(10):
    print("held", flush=True)
    sys.stdin.readline()
"""
FOREIGN = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""
RECORD = """
import sys
from pathlib import Path
from storage.database import open_database
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from tests.unit.storage.samples import incoming

recorder = InstanceRecorder(open_database(sys.argv[1]), InstanceFiles(Path(sys.argv[2])))
first = int(sys.argv[3])
for number in range(first, first + 40):
    recorder.record(incoming(number))
"""


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def _holder(program: str, path: Path) -> subprocess.Popen[str]:
    process = _start(program, str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Database:
    db = open_database(sqlite_url(tmp_path / "radnode.db"))
    migrate(db)
    return db


def test_nobody_waits_for_a_killed_process(tmp_path: Path) -> None:
    turn = WriteTurn(tmp_path / "db")
    process = _holder(HOLD, tmp_path / "db")
    threading.Timer(0.3, process.kill).start()
    with turn.taken(30):
        assert process.wait(30) != 0
    process.communicate()


def test_a_turn_that_does_not_come_is_an_error_and_the_next_one_comes(tmp_path: Path) -> None:
    turn = WriteTurn(tmp_path / "db")
    process = _holder(HOLD, tmp_path / "db")
    with pytest.raises(DatabaseUnavailable), turn.taken(0.05):
        pass
    _end(process)
    with turn.taken(10):
        pass


def test_threads_have_the_turn_one_at_a_time(tmp_path: Path) -> None:
    turn = WriteTurn(tmp_path / "db")
    inside: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            with turn.taken(30):
                inside.append(number)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == []


@pytest.mark.parametrize("program", [HOLD, FOREIGN], ids=["another_process", "another_program"])
def test_while_the_file_is_held_recording_fails_and_then_goes_on(
    sqlite_db: Database,
    files: InstanceFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:
    monkeypatch.setattr(storage.database, "BUSY_TIMEOUT_S", 0.1)
    db = open_database(sqlite_url(tmp_path / "radnode.db"))
    recorder = InstanceRecorder(db, files)
    recorder.record(incoming(1))
    process = _holder(program, tmp_path / "radnode.db")
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            recorder.record(incoming(2))
    _end(process)
    recorder.settle()
    recorder.record(incoming(2))
    assert len(instances_of_series(db, SERIES)) == 2


def test_processes_record_one_series_side_by_side(
    db: Database, db_url: str, files: InstanceFiles
) -> None:
    record_instance(db, incoming(1))
    arguments = [(db_url, str(files.data_dir), str(first)) for first in (1, 21, 41)]
    processes = [_start(RECORD, *each) for each in arguments]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [one.instance_number for one in instances_of_series(db, SERIES)] == list(range(1, 81))


def test_a_database_has_one_node(db: Database, db_url: str) -> None:
    other = open_database(db_url)
    with sole_node(db) as hold:
        hold.keep()
        with pytest.raises(DatabaseInUse, match="another radnode serve"):
            SoleNode(other).keep()
        record_instance(other, incoming(1))
    with sole_node(other):
        pass
    other.close()


@pytest.mark.peer("postgresql")
def test_a_node_takes_its_database_again_after_the_server_was_restarted() -> None:
    with PostgresServer() as server:
        url = server.new_database()
        first, second = open_database(url), open_database(url)
        with sole_node(first) as hold:
            server.stop()
            with pytest.raises(DatabaseUnavailable):
                hold.keep()
            server.restart()
            hold.keep()
            with pytest.raises(DatabaseInUse):
                SoleNode(second).keep()
        taken = SoleNode(second)
        taken.keep()
        with pytest.raises(DatabaseInUse):
            hold.keep()
        taken.release()
        first.close()
        second.close()


@pytest.mark.peer("postgresql")
def test_recording_goes_on_by_itself_after_postgresql_was_away(files: InstanceFiles) -> None:
    with PostgresServer() as server:
        db = open_database(server.new_database())
        migrate(db)
        recorder = InstanceRecorder(db, files)
        recorder.record(incoming(1))
        recorder.record(incoming(2))
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            recorder.record(incoming(3))
        with pytest.raises(DatabaseUnavailable):
            recorder.settle()
        server.restart()
        recorder.settle()
        recorder.record(incoming(3))
        assert len(instances_of_series(db, SERIES)) == 3
        db.close()
