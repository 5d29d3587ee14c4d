from __future__ import annotations

import threading

import structlog

from node.assembly import Assembly
from storage.errors import DatabaseUnavailable, StorageError
from tests.peers.ports import wait_until


def test_it_looks_at_the_start_and_when_it_is_woken() -> None:
    looks = threading.Semaphore(0)
    assembly = Assembly(looks.release, interval_s=3600)
    assembly.start()
    assert looks.acquire(timeout=10)

    assembly.wake()

    assert looks.acquire(timeout=10)
    assembly.stop()


def test_a_wake_during_a_look_brings_another_one() -> None:
    begun, may_end = threading.Semaphore(0), threading.Event()

    def look() -> None:
        begun.release()
        may_end.wait(10)

    assembly = Assembly(look, interval_s=3600)
    assembly.start()
    assert begun.acquire(timeout=10)
    assembly.wake()
    may_end.set()

    assert begun.acquire(timeout=10)
    assembly.stop()


def test_without_a_wake_it_looks_now_and_then() -> None:
    looks = threading.Semaphore(0)
    assembly = Assembly(looks.release, interval_s=0.01)
    assembly.start()

    assert all(looks.acquire(timeout=10) for _ in range(5))
    assembly.stop()


def test_a_look_that_fails_is_followed_by_another() -> None:
    errors: list[Exception] = [DatabaseUnavailable("away"), DatabaseUnavailable("away")]
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if errors:
            raise errors.pop()

    assembly = Assembly(look, interval_s=0.01)
    assembly.start()

    wait_until(lambda: len(looks) >= 4, what="a look after the failures")
    assembly.stop()


def test_after_the_stop_there_is_no_look() -> None:
    looks: list[int] = []
    assembly = Assembly(lambda: looks.append(1), interval_s=0.01)
    assembly.start()
    assembly.stop()
    number = len(looks)

    assembly.wake()
    assert len(looks) == number


def test_a_look_may_want_another_one_soon() -> None:
    looks = threading.Semaphore(0)

    def look() -> float:
        looks.release()
        return 0.01

    assembly = Assembly(look, interval_s=3600)
    assembly.start()

    assert all(looks.acquire(timeout=10) for _ in range(3))
    assembly.stop()


def test_each_reason_to_wait_is_told_once_also_beside_one_that_lasts() -> None:
    lasting, other = "study 1 waits: an instance cannot be read now", "the database is away"
    reasons, looked = [lasting, lasting, other], threading.Event()

    def look() -> None:
        if not reasons:
            return looked.set()
        raise StorageError(reasons.pop(0))

    with structlog.testing.capture_logs() as told:
        assembly = Assembly(look, interval_s=0.01)
        assembly.start()
        assert looked.wait(10)
        assembly.stop()

    postponed = [line["reason"] for line in told if line["event"] == "act_postponed"]
    assert postponed == [lasting, other]
