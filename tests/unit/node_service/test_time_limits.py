from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from node.quiet_clock import Moment
from node.time_limits import TIME_LIMIT, TimeLimits
from pipelines.registry import register
from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.jobs import get_job, retry_job
from storage.records import JobState
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.threshold_bundle import write_bundle
from tests.unit.storage.samples import LEASE_S, claim, finish, make_job, new_job

PREFIX = "radnode/"
PID = 4711
PIPELINE = "two_levels"
NODE_LIMIT_S, OWN_LIMIT_S = 100.0, 1000.0


@dataclass
class Node:
    """A node's watch on its jobs, and the processes that it had killed."""

    db: Database
    folder: Path
    own_limit_s: float | None = None
    killed: list[int] = field(default_factory=list)
    destinations: tuple[Mapping[str, Any], ...] = ()

    def enforce(self) -> None:
        self.limits().enforce()

    def limits(self) -> TimeLimits:
        settings = Settings.model_validate(
            {
                "node": {"data_dir": str(self.folder / "data")},
                "worker": {"time_limit_s": NODE_LIMIT_S},
                "destinations": list(self.destinations),
            }
        )
        if not (self.folder / PIPELINE).exists():
            write_bundle(self.folder / PIPELINE)
        registered = register(definition(time_limit_s=self.own_limit_s), self.folder)
        return TimeLimits(
            settings,
            self.db,
            {PIPELINE: registered},
            worker_prefix=PREFIX,
            kill_worker=self.killed.append,
        )


def started(db: Database, seconds_ago: float, worker_id: str = f"{PREFIX}{PID}") -> int:
    """A job that began so long ago, under a lease that still runs while it is younger than that."""
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    job_id = make_job(db, new_job(pipeline=PIPELINE, max_attempts=5), now=then)
    claim(db, worker_id=worker_id, now=then)
    return job_id


@pytest.fixture
def node(db: Database, tmp_path: Path) -> Node:
    return Node(db, tmp_path)


def test_a_job_over_its_limit_fails_at_once_and_its_worker_is_killed(
    db: Database, node: Node
) -> None:
    job_id = started(db, NODE_LIMIT_S + 1)

    node.enforce()

    job = get_job(db, job_id)
    assert (job.state, job.reason_code, job.attempts) == (JobState.FAILED, TIME_LIMIT, 1)
    assert "stopped after 100 s" in (job.reason_text or "")
    assert node.killed == [PID]


def test_who_wants_to_hear_of_failures_is_told_of_it(db: Database, node: Node) -> None:
    ehr = {"type": "fhir", "name": "ehr", "base_url": "https://ehr.example/fhir"}
    node.destinations = (
        ehr | {"outcomes": ["findings", "failed"]},
        ehr | {"name": "pacs"},
    )
    started(db, NODE_LIMIT_S + 1)

    node.enforce()

    assert [one.destination for one in list_deliveries(db)] == ["ehr"]


def test_a_job_within_its_limit_goes_on(db: Database, node: Node) -> None:
    job_id = started(db, min(NODE_LIMIT_S, LEASE_S) / 2)

    node.enforce()

    assert get_job(db, job_id).state is JobState.RUNNING
    assert node.killed == []


@pytest.mark.parametrize(
    ("clock_s", "lived_s", "state"), [(7200, 2, "running"), (0, 200, "failed")]
)
def test_a_clock_that_is_set_neither_ends_a_job_nor_lets_it_go_on(
    db: Database,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    clock_s: float,
    lived_s: float,
    state: str,
) -> None:
    job_id = started(db, 0)
    limits, before = node.limits(), Moment.now()
    limits.enforce()
    after = Moment(before.wall + timedelta(seconds=clock_s), before.monotonic_s + lived_s)
    monkeypatch.setattr("node.time_limits.Moment.now", lambda: after)

    limits.enforce()

    assert get_job(db, job_id).state == state


def test_a_pipelines_own_limit_wins_over_that_of_the_worker(db: Database, tmp_path: Path) -> None:
    node = Node(db, tmp_path, own_limit_s=OWN_LIMIT_S)
    job_id = started(db, OWN_LIMIT_S + 1)

    node.enforce()

    assert "stopped after 1000 s" in (get_job(db, job_id).reason_text or "")


def test_a_pipeline_that_is_offered_no_more_has_the_workers_limit(db: Database, node: Node) -> None:
    node.own_limit_s = OWN_LIMIT_S
    then = datetime.now(UTC) - timedelta(seconds=NODE_LIMIT_S + 1)
    job_id = make_job(db, new_job(pipeline="gone"), now=then)
    claim(db, worker_id=f"{PREFIX}{PID}", now=then)

    node.enforce()

    assert get_job(db, job_id).reason_code == TIME_LIMIT


def test_a_worker_that_gives_no_sign_is_killed_and_its_job_left_to_the_sweep(
    db: Database, tmp_path: Path
) -> None:
    node = Node(db, tmp_path, own_limit_s=OWN_LIMIT_S)
    job_id = started(db, LEASE_S + 1)

    node.enforce()

    assert get_job(db, job_id).state is JobState.RUNNING
    assert node.killed == [PID]


@pytest.mark.parametrize("worker_id", ["radnode2/4711", "radnode/4711/1", "radnode/", "4711"])
def test_workers_of_others_are_let_alone(db: Database, node: Node, worker_id: str) -> None:
    job_id = started(db, NODE_LIMIT_S + 1, worker_id)

    node.enforce()

    assert get_job(db, job_id).state is JobState.RUNNING
    assert node.killed == []


def test_a_job_that_ended_just_now_costs_no_worker(
    db: Database, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = started(db, NODE_LIMIT_S + 1)
    seen = get_job(db, job_id)
    finish(db, job_id, worker_id=f"{PREFIX}{PID}")
    monkeypatch.setattr("node.time_limits.jobs.list_jobs", lambda *_, **__: (seen,))

    node.enforce()

    assert get_job(db, job_id).state is JobState.SUCCEEDED
    assert node.killed == []


def test_the_time_of_an_earlier_attempt_does_not_count(db: Database, node: Node) -> None:
    job_id = started(db, NODE_LIMIT_S + 1)
    node.enforce()
    retry_job(db, job_id, now=datetime.now(UTC))
    claim(db, worker_id=f"{PREFIX}{PID + 1}", now=datetime.now(UTC))

    node.enforce()

    assert get_job(db, job_id).state is JobState.RUNNING
    assert node.killed == [PID]
