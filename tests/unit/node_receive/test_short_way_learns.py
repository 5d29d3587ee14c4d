"""What the short way of an association is offered, and how often it is tried."""

from __future__ import annotations

from typing import Any

import pytest

from node.receive.header_memory import HeaderMemory
from node.receive.likeness import Like
from node.receive.short_run import Went
from node.receive.short_way import ShortWay
from storage.dicom_records import IncomingInstance
from tests.unit.node_receive.like_slices import LITTLE, outcome_of_whole, slice_with
from tests.unit.storage.samples import incoming

usual_texts = pytest.importorskip("node.receive.usual_texts")
"""It is built where there is a compiler."""

MOST = usual_texts.MOST_KINDS_TOGETHER
TAKEN, BEGUN, NOTHING = Went(3, False), Went(0, True), Went()


class Run:
    """Notes what it is offered, and goes as it is told."""

    def __init__(self) -> None:
        self.offered = list[tuple[Like, ...]]()
        self.went = NOTHING

    def go_on(self, _context_id: int, _request: object, likes: tuple[Like, ...]) -> Went:
        self.offered.append(likes)
        return self.went


class Association:
    """Acknowledges instances by the long way, and lets the short way go on."""

    def __init__(self) -> None:
        self.run, self._memory = Run(), HeaderMemory()
        self._way = ShortWay(self.run)  # type: ignore[arg-type]

    def acknowledge(self, series: int, **values: bytes) -> tuple[Like, ...]:
        """Return what is offered afterwards."""
        uid = b"1.2.3.%d" % (10 + series)
        content = slice_with(series=uid + b"\0" * (len(uid) % 2), **values)
        header, _ = outcome_of_whole(content, self._memory)
        self._way.learn(_incoming(header), self._memory.known)
        self.goes(NOTHING)
        return self.run.offered[-1]

    def goes(self, went: Went) -> bool:
        """Let it go on; whether that was tried."""
        self.run.went, before = went, len(self.run.offered)
        unused: Any = None
        self._way.go_on(1, unused)
        return len(self.run.offered) > before


def _incoming(header: Any) -> IncomingInstance:
    return incoming()._replace(
        study=header.study,
        series=header.series,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=LITTLE,
    )


def test_nothing_is_tried_before_anything_is_known() -> None:
    assert not Association().goes(TAKEN)


def test_each_new_series_is_offered_first_and_no_more_than_a_run_takes() -> None:
    association, offered = Association(), list[str]()
    for series in range(MOST + 3):
        association.acknowledge(series)
        likes = association.acknowledge(series, number=b"2 ")
        offered.append(likes[0].incoming.series.series_instance_uid)
        assert [one.incoming.series.series_instance_uid for one in likes] == offered[::-1][:MOST]


def test_an_instance_that_is_known_changes_nothing_of_what_is_offered() -> None:
    association = Association()
    for series in (1, 2):
        association.acknowledge(series)
    before = association.acknowledge(1, number=b"2 ")

    assert association.acknowledge(2, number=b"3 ") is before


def test_of_a_series_with_another_header_only_the_last_one_is_offered() -> None:
    association = Association()
    first = association.acknowledge(1)
    second = association.acknowledge(1, image_type=b"DERIVED\\SECONDARY")

    assert (len(first), len(second)) == (1, 1)
    assert first[0].known is not second[0].known


def test_what_begins_in_vain_again_and_again_is_tried_ever_more_seldom_until_some_are_taken() -> (
    None
):
    association = Association()
    association.acknowledge(1)
    tried = [association.goes(BEGUN) for _ in range(80)]
    gaps = "".join("x" if each else "-" for each in tried).split("x")
    assert [len(gap) for gap in gaps[:7]] == [0, 0, 1, 3, 7, 15, 31]

    while not association.goes(TAKEN):
        pass
    assert [association.goes(BEGUN) for _ in range(4)] == [True, True, False, True]
