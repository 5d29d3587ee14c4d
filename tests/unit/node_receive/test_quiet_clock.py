from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from node.quiet_clock import Moment, QuietClock

T0 = datetime(2026, 1, 2, 12, tzinfo=UTC)


def _moment(wall_s: float, monotonic_s: float) -> Moment:
    return Moment(T0 + timedelta(seconds=wall_s), monotonic_s)


def test_the_age_at_first_sight_comes_from_the_wall_clock() -> None:
    clock = QuietClock()

    assert clock.elapsed_s("1.2", "instance", T0, _moment(7, 100)) == 7
    assert clock.elapsed_s("1.2", "instance", T0, _moment(9, 102)) == 9


def test_a_wall_clock_behind_the_instance_counts_as_no_time() -> None:
    assert QuietClock().elapsed_s("1.2", "instance", T0, _moment(-3600, 0)) == 0


def test_a_new_instance_begins_anew() -> None:
    clock = QuietClock()
    clock.elapsed_s("1.2", "instance", T0, _moment(5, 5))

    later = T0 + timedelta(seconds=6)
    assert clock.elapsed_s("1.2", "instance", later, _moment(7, 7)) == 1


def test_what_is_forgotten_is_seen_for_the_first_time_again() -> None:
    clock = QuietClock()
    clock.elapsed_s("1.2", "instance", T0, _moment(0, 0))
    clock.forget_all_but(set())

    assert clock.elapsed_s("1.2", "instance", T0, _moment(50, 1)) == 50


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1e5, 1e5)), min_size=1, max_size=8))
def test_however_the_wall_clock_is_set_time_passes_as_it_does(
    steps: list[tuple[float, float]],
) -> None:
    clock = QuietClock()
    clock.elapsed_s("1.2", "instance", T0, _moment(0, 0))
    passed_s = 0.0
    for step_s, wall_s in steps:
        passed_s += step_s
        assert clock.elapsed_s("1.2", "instance", T0, _moment(wall_s, passed_s)) == passed_s
