"""A run of like instances waits for nobody, be it one that sends, or one that should read."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from tests.unit.node_receive.like_kinds import like
from tests.unit.node_receive.run_taking import compiled, following, run, usual_run
from tests.unit.node_receive.scripted_stream import Script

THREE = [like(2), like(3, 300), like(10, 64)]


def test_of_an_answer_that_nobody_takes_the_rest_is_left_and_no_more_is_taken() -> None:
    script = Script([b"".join(THREE), b""], pause_s=0.5)
    with following(script) as read:
        read.connection.setblocking(False)
        with suppress(BlockingIOError):
            while read.connection.send(b"x"):
                pass
        read.connection.setblocking(True)
        ran = run(read)

    assert (ran.end, len(ran.done)) == (compiled.STORED, 1)
    assert len(ran.unsent) > 0
    assert ran.rest.endswith(THREE[2])


@pytest.mark.parametrize("cut", [0, 5, 50])
def test_a_request_that_does_not_come_is_not_waited_for(cut: int) -> None:
    with following(Script([like(2) + like(3)[:cut], b"x"], pause_s=0.5)) as read:
        began = time.monotonic()
        ran = run(read)
        took_s = time.monotonic() - began

    assert (ran.end, len(ran.done), ran.begun) == (compiled.OTHERWISE, 1, None)
    assert ran.rest == like(3)[:cut]
    assert took_s < 0.2


def test_a_data_set_that_drips_is_left_in_time() -> None:
    wire = like(3)
    script = Script([like(2) + wire[:200], *(wire[at : at + 1] for at in range(200, 240))], 0.02)
    with following(script) as read:
        began = time.monotonic()
        ran = run(read, within_s=0.1)
        took_s = time.monotonic() - began

    assert (ran.end, len(ran.done)) == (compiled.OTHERWISE, 1)
    assert ran.begun is not None
    assert 0.05 < took_s < 0.4


def test_a_sender_that_goes_on_and_on_has_its_rows_written_in_between() -> None:
    script = Script([like(number) for number in range(2, 22)], 0.01)
    with following(script) as read:
        ran = run(read, places=usual_run.MOST_INSTANCES)

    assert 0 < len(ran.done) < 10


@pytest.mark.parametrize("before", [0, 1])
def test_a_row_does_not_wait_for_a_slow_data_set_behind_it(before: int) -> None:
    script = Script([like(2) * before + like(3)[:300], *[b""] * 12, b"x"], 0.1)
    with following(script) as read:
        began = time.monotonic()
        ran = run(read, within_s=0.8)
        took_s = time.monotonic() - began

    assert (ran.end, len(ran.done)) == (compiled.OTHERWISE, before)
    assert took_s < 0.6 if before else took_s > 0.7
