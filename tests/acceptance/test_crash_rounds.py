"""A short run of `make crash-test`, and proof that it would see what it looks for."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.inspection import counted
from tests.crash.rounds import CrashTest, Summary
from tests.peers.kept_instances import kept_instances, sqlite_of
from tests.peers.part10 import data_set_of
from tests.peers.postgres import PostgresServer

ROUNDS, MOST_ROUNDS = 3, 12


def _rounds(test: CrashTest) -> Summary:
    """A few rounds; more on a slow machine, until enough was acknowledged to be lost."""
    while test.summary.rounds < MOST_ROUNDS:
        test.run_round()
        if test.summary.rounds >= ROUNDS and test.summary.acknowledged > ROUNDS:
            break
    return test.finish()


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_nothing_acknowledged_is_lost_and_nothing_half_is_seen_when_processes_are_killed(
    tmp_path: Path, durability: str
) -> None:
    storage = {"durability": durability}
    with closing(CrashTest(tmp_path, seed=4, senders=3, storage=storage)) as test:
        summary = _rounds(test)

    assert summary.problems == []
    assert summary.rounds >= ROUNDS
    assert summary.acknowledged > ROUNDS


@pytest.mark.peer("postgresql")
def test_the_same_holds_on_postgresql(tmp_path: Path) -> None:
    with PostgresServer() as server:
        storage = {"database_url": server.new_database()}
        with closing(CrashTest(tmp_path, seed=7, senders=3, storage=storage)) as test:
            summary = _rounds(test)

    assert summary.problems == []
    assert summary.acknowledged > ROUNDS


def test_a_missing_a_changed_and_a_foreign_file_would_be_seen(tmp_path: Path) -> None:
    with closing(CrashTest(tmp_path, seed=1, senders=2)) as test:
        test.run_round()
        test.finish()
        missing, changed, *_ = _kept_files(tmp_path / "data")
        missing.unlink()
        changed.write_bytes(changed.read_bytes()[:-1] + b"?")
        (changed.parent / "foreign.dcm").write_bytes(b"half")
        found = test.look_again()

    assert counted(found) == {"lost": 2, "half visible": 2, "left over": 1}


def test_a_data_set_begins_after_the_file_meta_information(tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\x02\0\0\0UL\x04\0\x03\0\0\0" + b"abc" + b"data")

    assert data_set_of(path) == b"data"


def _kept_files(data_dir: Path) -> list[Path]:
    rows = kept_instances(sqlite_of(data_dir)).values()
    return sorted(data_dir / row.path for row in rows)
