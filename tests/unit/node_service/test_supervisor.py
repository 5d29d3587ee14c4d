from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from node.supervisor import BackOff, Supervisor, worker_command
from tests.peers.ports import wait_until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
NO_WAIT = BackOff(first_s=0.01, longest_s=0.01)


def _running_pid(supervisor: Supervisor) -> int:
    return wait_until(lambda: supervisor.child_pid, what="the child") or 0


def test_a_child_that_dies_is_reported_and_started_again() -> None:
    deaths = threading.Semaphore(0)
    supervisor = Supervisor(
        [sys.executable, "-c", "raise SystemExit(3)"],
        on_death=lambda _: deaths.release(),
        back_off=NO_WAIT,
    )

    supervisor.start()

    assert all(deaths.acquire(timeout=20) for _ in range(3))
    assert supervisor.stop(grace_s=5)


def test_a_report_that_fails_does_not_end_the_supervision() -> None:
    calls = threading.Semaphore(0)

    def broken(pid: int) -> None:
        calls.release()
        raise RuntimeError

    supervisor = Supervisor(
        [sys.executable, "-c", "raise SystemExit(3)"], on_death=broken, back_off=NO_WAIT
    )
    supervisor.start()

    assert all(calls.acquire(timeout=20) for _ in range(2))
    supervisor.stop(grace_s=5)


def test_stopping_ends_the_child_without_reporting_a_death() -> None:
    deaths: list[int] = []
    supervisor = Supervisor(SLEEPER, on_death=deaths.append)
    supervisor.start()
    pid = _running_pid(supervisor)

    assert supervisor.stop(grace_s=10)

    assert deaths == []
    assert not Path(f"/proc/{pid}").exists()


def test_a_child_that_ignores_the_wish_is_killed_after_the_grace(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"{DEAF}; open({str(ready)!r}, 'w').close(); time.sleep(60)"
    supervisor = Supervisor([sys.executable, "-c", code], on_death=lambda _: None)
    supervisor.start()
    wait_until(ready.exists, what="the deaf child")
    pid = _running_pid(supervisor)

    assert not supervisor.stop(grace_s=0.1)

    assert not Path(f"/proc/{pid}").exists()


def test_stopping_what_was_never_started_does_nothing() -> None:
    assert Supervisor(SLEEPER, on_death=lambda _: None).stop(grace_s=1)


def test_the_worker_is_told_its_parent_and_the_same_configuration(tmp_path: Path) -> None:
    command = worker_command(tmp_path / "node.yaml")

    assert command[1:4] == ["-m", "node", "worker"]
    assert command[4:] == ["--parent", str(os.getpid()), "--config", str(tmp_path / "node.yaml")]
    assert "--config" not in worker_command(None)


@given(st.integers(1, 10_000))
def test_the_back_off_grows_up_to_its_bound(deaths: int) -> None:
    back_off = BackOff(first_s=1, longest_s=60)

    assert 1 <= back_off.delay_s(deaths) <= back_off.delay_s(deaths + 1) <= 60


def test_a_child_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    program, marker = tmp_path / "worker", tmp_path / "started"
    deaths = threading.Semaphore(0)
    supervisor = Supervisor([str(program)], on_death=lambda _: deaths.release(), back_off=NO_WAIT)

    supervisor.start()
    assert deaths.acquire(timeout=20)
    written = tmp_path / "being_written"
    written.write_text(f"#!/bin/sh\ntouch {marker}\n")
    written.chmod(0o700)
    written.rename(program)

    wait_until(marker.exists, what="the child")
    assert supervisor.stop(grace_s=5)
