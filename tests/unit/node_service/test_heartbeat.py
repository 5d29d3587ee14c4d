from __future__ import annotations

import threading

from node.heartbeat import Heartbeat
from storage.errors import DatabaseUnavailable, LeaseLost
from tests.peers.ports import wait_until


class Beats:
    def __init__(self, *errors: Exception | None) -> None:
        self._errors = list(errors)
        self.count = threading.Semaphore(0)

    def __call__(self) -> None:
        self.count.release()
        error = self._errors.pop(0) if self._errors else None
        if error:
            raise error


def test_the_lease_is_renewed_again_and_again_inside_the_block() -> None:
    beats = Beats()

    with Heartbeat(beats, every_s=0.01) as heartbeat:
        assert all(beats.count.acquire(timeout=10) for _ in range(3))

    assert not heartbeat.is_lost


def test_no_beat_comes_after_the_block() -> None:
    beats = Beats()

    with Heartbeat(beats, every_s=0.01):
        beats.count.acquire(timeout=10)
    while beats.count.acquire(blocking=False):
        pass

    assert not beats.count.acquire(timeout=0.1)


def test_a_lost_lease_is_noticed_inside_the_block() -> None:
    with Heartbeat(Beats(LeaseLost("gone")), every_s=0.01) as heartbeat:
        wait_until(lambda: heartbeat.is_lost, what="the loss")


def test_a_database_that_is_away_for_one_beat_is_no_loss() -> None:
    beats = Beats(DatabaseUnavailable("locked"))

    with Heartbeat(beats, every_s=0.01) as heartbeat:
        assert all(beats.count.acquire(timeout=10) for _ in range(2))

    assert not heartbeat.is_lost
