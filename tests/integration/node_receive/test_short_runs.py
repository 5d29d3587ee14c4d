"""Instances that come one after another, none waiting for an answer: all is as by the long way."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from node.receive import short_run
from tests.integration.node_receive.both_ways import (
    END,
    MR,
    OTHER_SERIES,
    Node,
    answers,
    by_both_ways,
    compiled,
    slice_of,
    stored,
)
from tests.integration.node_receive.mr_study import ROOT, SERIES, mr_instance
from tests.integration.node_receive.sender import encoded
from tests.peers.raw_dicom import (
    A_ABORT,
    A_RELEASE_RQ,
    C_STORE_RQ,
    COMMAND,
    LAST,
    NO_DATA_SET,
    WITH_DATA_SET,
    RawPeer,
    command_set,
    p_data,
    pdu,
    pdv,
)

IN_IMPLICIT = 5
LIKE = [stored(number, slice_of(number)) for number in (1, 2, 3, 4)]
NEXT = [stored(number, slice_of(number)) for number in (5, 6, 7)]
ENDS = [len(b"".join(NEXT[:count])) for count in (1, 2, 3)]


def with_uid(number: int, uid: str) -> bytes:
    return stored(number, slice_of(number, SOPInstanceUID=uid), uid=uid)


def mixed(count: int, each: int) -> list[bytes]:
    """So many series, some instances of each, one series after another, again and again."""
    return [
        of_series(number, f"{ROOT}.1.{3 + series}")
        for number in range(1, 1 + each)
        for series in range(count)
    ]


def of_series(number: int, series: str) -> bytes:
    content = slice_of(number, SeriesInstanceUID=series, SOPInstanceUID=f"{series}.{number}")
    return stored(number, content, uid=f"{series}.{number}")


def sent(*wire: bytes, count: int, waits_for: int = 4) -> Callable[[Node], object]:
    """Send some instances one by one, and all else at once."""

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for each in LIKE[:waits_for]:
                peer.send(each)
                told += answers(peer, 1)
            peer.send(b"".join(wire))
            peer.connection.shutdown(socket.SHUT_WR)
            return told + answers(peer, count)

    return send


VARIATIONS = {
    "the same again and again": [LIKE[1], *NEXT[:1] * 3, LIKE[1]],
    "other versions": [NEXT[0], stored(5, slice_of(5, ImageComments="changed")), *NEXT[:2]],
    "two series": [of_series(n, s) for n in range(5, 12) for s in (SERIES, OTHER_SERIES)],
    "eight series": mixed(8, 3),
    "more series than are known at once": [*mixed(11, 3), *LIKE],
    "one series after another": [
        of_series(n, s) for s in (SERIES, OTHER_SERIES, SERIES) for n in range(5, 9)
    ],
    "UIDs of all lengths": [
        with_uid(number, (ROOT + ".1" + ".1234567" * 8)[:size])
        for number, size in enumerate([*range(64, 50, -1), 29, 30, 64], 5)
    ],
    "numbers that grow": [
        stored(number, slice_of(number)) for number in (8, 9, 10, 11, 99, 100, 101, 9, 12)
    ],
    "UIDs that are none": [
        NEXT[0],
        *(
            stored(6, slice_of(6).replace(f"{SERIES}.6".encode(), uid), uid=uid.decode())
            for uid in (b"." * 25, b"1/2" + b"3" * 22, b"1" * 24 + b".", b"1..2" + b"3" * 21)
        ),
        *NEXT[1:],
    ],
    "other fragments": [stored(n, slice_of(n), size=size) for n, size in zip(
        range(5, 12), (64, 1, 333, 1 << 14, 700, 97, 12), strict=True)],
    "large and small": [
        stored(n, slice_of(n, PixelData=bytes(size)), size=16_000)
        for n, size in enumerate((0, 500_000, 2, 2 << 20, 300_000, 4), 5)
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", VARIATIONS)
def test_instances_that_are_not_waited_for_are_answered_and_kept_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = [*VARIATIONS[name], NEXT[2], pdu(A_RELEASE_RQ)]

    _, _, ends = by_both_ways(monkeypatch, sent(*wire, count=len(wire)))

    assert ends.count(compiled.STORED) >= 2


@pytest.mark.parametrize("is_mixed", [False, True])
def test_of_each_series_only_the_first_instance_goes_the_long_way(
    is_mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [(series, number) for series in (SERIES, OTHER_SERIES) for number in range(1, 11)]
    if is_mixed:
        order.sort(key=lambda one: one[1])

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for series, number in order:
                peer.send(of_series(number, series))
                told += answers(peer, 1)
            return told

    _, _, ends = by_both_ways(monkeypatch, send)

    assert ends.count(compiled.STORED) == 2 * 9
    assert len(ends) <= 2 * 9 + 1  # the first of the second series is begun


@pytest.mark.parametrize("count", [8, 9, 12])
def test_as_many_series_as_are_known_at_once_may_be_mixed(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = mixed(count, 10)

    told, _, ends = by_both_ways(monkeypatch, sent(*wire, *LIKE, waits_for=0, count=len(wire) + 4))

    assert [status for _, status in told] == [0] * (len(wire) + 4)
    assert (ends.count(compiled.STORED) > 6 * count) == (count <= 8)


@pytest.mark.parametrize(
    "end", [b"", pdu(A_ABORT), pdu(A_RELEASE_RQ)], ids=["", "abort", "release"]
)
@pytest.mark.parametrize(
    "cut", [0, 1, 11, 12, 60, 150, 160, 700, *(end + by for end in ENDS for by in (-1, 0, 3, 170))]
)
def test_wherever_the_wire_ends_the_same_is_kept(
    cut: int, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = (b"".join(NEXT) + NEXT[0])[:cut]

    told, found, _ = by_both_ways(monkeypatch, sent(wire, end, count=5))

    # A byte of the end may be the last one of a data set.
    whole = sum(each <= cut + len(end[:1]) for each in ENDS)
    assert [status for _, status in told[: 4 + whole]] == [0] * (4 + whole)
    assert told[-1][0] == END
    assert len(found.rows) == 4 + whole


FILE, PAGE = 3, 9


@pytest.mark.parametrize("full", [FILE, PAGE])
def test_where_a_run_cannot_write_the_long_way_does(
    full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [stored(n, slice_of(n, PixelData=bytes(400_000)), size=16_000) for n in range(10, 14)]
    wire = [*NEXT, *large, *(stored(n, slice_of(n)) for n in range(14, 20))]
    told, found, ends = by_both_ways(
        monkeypatch, sent(*wire, pdu(A_RELEASE_RQ), count=14), full=full
    )

    assert [status for _, status in told[:17]] == [0] * 17
    assert len(found.rows) == 17
    assert set(ends) == {compiled.FAILED}


def test_where_the_next_instance_comes_on_another_context_a_run_is_seldom_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried, go_on = list[int](), short_run.ShortRun.go_on

    def noted(run: short_run.ShortRun, context_id: int, *more: Any) -> short_run.Went:
        tried.append(context_id)
        return go_on(run, context_id, *more)

    def on_either(number: int) -> bytes:
        if number % 2:
            return stored(number, slice_of(number))
        request = command_set(
            C_STORE_RQ, message_id=number, sop_instance=f"{SERIES}.{number}", data_set=WITH_DATA_SET
        )
        content = encoded(mr_instance(number), implicit=True)
        return p_data(pdv(IN_IMPLICIT, COMMAND | LAST, request)) + p_data(
            pdv(IN_IMPLICIT, LAST, content)
        )

    monkeypatch.setattr(short_run.ShortRun, "go_on", noted)
    mixed, like = map(on_either, range(5, 105)), [stored(n, slice_of(n)) for n in range(105, 185)]

    _, _, ends = by_both_ways(monkeypatch, sent(*mixed, *like, count=180))

    assert len(tried) < 30
    assert ends.count(compiled.STORED) > 10


def without_data_set(number: int) -> bytes:
    uid = f"{SERIES}.{number}"
    request = command_set(C_STORE_RQ, message_id=number, sop_instance=uid, data_set=NO_DATA_SET)
    return p_data(pdv(MR, COMMAND | LAST, request))


def test_a_request_that_has_no_data_set_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    without, another = without_data_set(5), without_data_set(6)
    data_set = p_data(pdv(MR, LAST, slice_of(5)))
    for wire in (
        [without, *NEXT[1:]],
        [without, data_set, *NEXT[1:]],
        [without, another, NEXT[2]],
        [without, without, data_set, NEXT[2]],
        [without, without, data_set[:300]],
    ):
        told, _, _ = by_both_ways(monkeypatch, sent(*wire, count=4))
        assert told[4][1] != 0
