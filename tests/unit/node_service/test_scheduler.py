from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import structlog

from node.scheduler import NodeScheduler
from storage.errors import DatabaseUnavailable

NEVER_S = 3600.0


@pytest.fixture
def scheduler() -> Iterator[NodeScheduler]:
    scheduler = NodeScheduler()
    yield scheduler
    scheduler.stop()


def test_an_act_runs_at_the_start_and_again(scheduler: NodeScheduler) -> None:
    runs = threading.Semaphore(0)
    scheduler.every(0.05, "act", runs.release)

    scheduler.start()

    assert all(runs.acquire(timeout=10) for _ in range(3))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), DatabaseUnavailable("locked")])
def test_an_act_that_fails_runs_again(scheduler: NodeScheduler, error: Exception) -> None:
    runs = threading.Semaphore(0)

    def fail() -> None:
        runs.release()
        raise error

    scheduler.every(0.05, "act", fail)
    scheduler.start()

    assert all(runs.acquire(timeout=10) for _ in range(2))


def test_an_act_that_is_woken_runs_before_its_time(scheduler: NodeScheduler) -> None:
    runs = threading.Semaphore(0)
    scheduler.every(NEVER_S, "act", runs.release)
    scheduler.start()
    assert runs.acquire(timeout=10)

    scheduler.wake("act")

    assert runs.acquire(timeout=10)


def test_waking_an_act_that_is_not_there_does_nothing(scheduler: NodeScheduler) -> None:
    scheduler.wake("act")
    scheduler.start()
    scheduler.wake("act")


def test_an_act_never_runs_twice_at_once(scheduler: NodeScheduler) -> None:
    running, most, ended = 0, 0, threading.Event()
    runs = threading.Semaphore(0)

    def slow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        runs.release()
        ended.wait(0.2)
        running -= 1

    scheduler.every(0.02, "act", slow)
    scheduler.start()

    assert all(runs.acquire(timeout=10) for _ in range(3))
    assert most == 1


def test_stopping_waits_for_what_runs() -> None:
    scheduler, started, ended = NodeScheduler(), threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        threading.Event().wait(0.3)
        ended.set()

    scheduler.every(NEVER_S, "act", slow)
    scheduler.start()
    started.wait(10)

    scheduler.stop()

    assert ended.is_set()


def test_stopping_what_was_never_started_does_nothing() -> None:
    NodeScheduler().stop()


def test_a_storage_that_is_away_is_told_once_and_its_return_once(
    scheduler: NodeScheduler,
) -> None:
    runs = 0
    ended = threading.Event()

    def away_for_a_while() -> None:
        nonlocal runs
        runs += 1
        if runs == 6:
            ended.set()
        if runs < 4:
            raise DatabaseUnavailable("down")

    with structlog.testing.capture_logs() as told:
        scheduler.every(0.02, "act", away_for_a_while)
        scheduler.start()
        assert ended.wait(10)

    assert [line["event"] for line in told] == ["act_postponed", "act_resumed"]
    assert told[0]["reason"] == "down"
