"""Which of what waits for a row is recorded next."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import pytest

from storage.late_rows import LateRow
from storage.receipts import Page
from storage.record_queue import LARGEST_BATCH, Call, Queued, next_batch
from tests.unit.storage.samples import incoming

PAGE = cast(Page, None)


def called(number: int) -> Call:
    return Call(incoming(number))


def late(number: int, *, has_failed: bool = False) -> LateRow:
    return LateRow(incoming(number), PAGE, print, has_failed=has_failed)


def batches(queued: list[Queued], *, may_rows_wait: bool = True) -> list[list[int]]:
    """What is taken, time after time, by places in the queue."""
    queue = deque(queued)
    taken = list[list[int]]()
    while queue:
        taken.append(
            [_place(queued, one) for one in next_batch(queue, may_rows_wait=may_rows_wait)]
        )
    return taken


def _place(queued: list[Queued], one: Queued) -> int:
    (place,) = (at for at, other in enumerate(queued) if other is one)
    return place


def test_calls_go_before_rows_that_nobody_waits_for() -> None:
    assert batches([late(1), late(2), called(3), late(4), called(5)]) == [[2, 4], [0, 1, 3]]


def test_where_there_is_no_room_for_more_rows_they_are_written_with_the_next_call() -> None:
    assert batches([late(1), late(2), called(3)], may_rows_wait=False) == [[0, 1, 2]]


@pytest.mark.parametrize("all_of_them", [[late(1), late(2)], [called(1), called(2)]])
def test_where_all_are_of_one_kind_they_go_in_order(all_of_them: list[Queued]) -> None:
    assert batches(all_of_them) == [[0, 1]]


def test_who_waits_for_all_rows_gets_them_and_what_came_after_waits_its_turn() -> None:
    assert batches([late(1), Call(None), called(2), late(3)]) == [[0, 1, 2, 3]]


def test_a_newer_version_never_goes_before_the_row_of_an_older_one() -> None:
    assert batches([late(1), late(2), called(1), late(3)]) == [[0, 1], [2], [3]]


def test_of_two_calls_under_one_uid_the_second_waits() -> None:
    assert batches([late(1), called(2), called(2)]) == [[0, 1], [2]]


def test_a_row_that_was_tried_in_vain_is_tried_with_the_next_call() -> None:
    assert batches([late(1, has_failed=True), late(2), called(3)]) == [[0, 1, 2]]


def test_more_than_a_batch_is_taken_in_order() -> None:
    many: list[Any] = [late(0), *(called(number) for number in range(1, LARGEST_BATCH + 2))]
    first, second = batches(many)
    assert first == list(range(LARGEST_BATCH))
    assert second == [LARGEST_BATCH, LARGEST_BATCH + 1]
