from __future__ import annotations

from pipelines.objects.description import numbered
from tests.unit.pipelines_objects.result_requests import STRUCTURES


def test_present_structures_are_numbered_from_one_without_a_gap() -> None:
    assert [item.segment_number for item in numbered(STRUCTURES, {0, 1, 2})] == [1, 2]


def test_an_absent_structure_gets_no_number() -> None:
    (only,) = numbered(STRUCTURES, {0, 2})
    assert (only.label_value, only.segment_number) == (2, 1)


def test_nothing_present_gives_no_segments() -> None:
    assert numbered(STRUCTURES, {0}) == ()
