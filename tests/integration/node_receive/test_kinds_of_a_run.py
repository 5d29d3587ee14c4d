"""What instances a run takes: those that are like ones before in all, and are still expected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from node.receive import short_run
from storage import known_series
from storage.dicom_records import IncomingInstance
from storage.known_series import KnownSeries
from tests.integration.node_receive.both_ways import (
    MR,
    OTHER_SERIES,
    Node,
    answers,
    by_both_ways,
    compiled,
    slice_of,
    stored,
    usual_run,
)
from tests.integration.node_receive.mr_study import ROOT, SERIES
from tests.peers.raw_dicom import (
    A_RELEASE_RQ,
    COMMAND,
    DEFAULT_CONTEXTS,
    EXPLICIT,
    LAST,
    MR_IMAGE,
    RawPeer,
    associate_request,
    context,
    p_data,
    pdu,
    pdv,
    store_command,
)

CT_IMAGE, RLE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.5"
CT, MR_RLE = 7, 9
ONE_REQUEST = b"\0\0\0\1\2\0\0\0\1\0"
CONTEXTS = (*DEFAULT_CONTEXTS, context(CT, CT_IMAGE, EXPLICIT), context(MR_RLE, MR_IMAGE, RLE))
CLASSES = {MR: MR_IMAGE, CT: CT_IMAGE, MR_RLE: MR_IMAGE}


def sent_over(context_id: int, number: int, kind: int) -> bytes:
    """A slice of the series that the context `kind` brings, over another one perhaps."""
    series = f"{ROOT}.1.{kind}"
    uid = f"{series}.{number}"
    content = slice_of(
        number, SOPClassUID=CLASSES[kind], SeriesInstanceUID=series, SOPInstanceUID=uid
    )
    request = store_command(uid, message_id=number, sop_class=CLASSES[context_id])
    return p_data(pdv(context_id, COMMAND | LAST, request)) + p_data(pdv(context_id, LAST, content))


def all_told(node: Node, wire: list[bytes]) -> list[tuple[int, ...]]:
    with RawPeer(node.port) as peer:
        peer.associate(associate_request(CONTEXTS))
        told = []
        for each in wire:
            peer.send(each)
            told += answers(peer, each.count(ONE_REQUEST))
        peer.send(pdu(A_RELEASE_RQ))
        return told


def one_by_one(series: str, *numbers: int) -> list[bytes]:
    return [
        stored(
            number,
            slice_of(number, SeriesInstanceUID=series, SOPInstanceUID=f"{series}.{number}"),
            uid=f"{series}.{number}",
        )
        for number in numbers
    ]


@pytest.mark.parametrize("over", CLASSES)
@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_known_of_one_context_is_not_taken_over_another(
    kind: int, over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = [sent_over(each, number, each) for each in CLASSES for number in (1, 2, 3)]
    wire += [sent_over(over, 4, over), sent_over(over, 5, kind), sent_over(over, 6, over)]

    told, _, ends = by_both_ways(monkeypatch, lambda node: all_told(node, wire))

    is_refused = CLASSES[kind] != CLASSES[over]
    assert [status for _, status in told[-3:]] == [0, 0xA900 if is_refused else 0, 0]
    assert compiled.STORED in ends


def test_a_series_that_is_not_expected_does_not_keep_others_from_the_short_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_series, "MOST_KNOWN", 1)
    wire = [*one_by_one(SERIES, 1), *one_by_one(OTHER_SERIES, 2, 3, 4, 5, 6)]

    _, _, ends = by_both_ways(monkeypatch, lambda node: all_told(node, wire))

    assert ends.count(compiled.STORED) >= 3


def test_a_run_takes_no_more_when_one_of_its_series_is_not_expected_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, expects, filled = list[int](), KnownSeries.expects, short_run.ShortRun._filled

    def still_expects(known: KnownSeries, incoming: IncomingInstance) -> bool:
        is_forgotten = incoming.series.series_instance_uid == SERIES and len(runs) >= 2
        return not is_forgotten and expects(known, incoming)

    def noted(*arguments: Any) -> Any:
        runs.append(1)
        return filled(*arguments)

    monkeypatch.setattr(short_run, "MOST", 1)
    monkeypatch.setattr(KnownSeries, "expects", still_expects)
    monkeypatch.setattr(short_run.ShortRun, "_filled", noted)
    wire = [*one_by_one(SERIES, 1), *one_by_one(OTHER_SERIES, 2), *one_by_one(SERIES, 3, 4, 5, 6)]

    _, found, ends = by_both_ways(monkeypatch, lambda node: all_told(node, [b"".join(wire)]))

    assert len(found.rows) == 6
    assert ends.count(compiled.STORED) <= 2


def test_where_nothing_came_for_a_while_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        """Ends after each instance, as if the next one had not come in time."""

        def __init__(self, *arguments: Any) -> None:
            self._run = usual_run.UsualRun(*arguments)

        def take(self, *arguments: Any) -> Any:
            end, rest, *more = self._run.take(*arguments)
            is_over = end == compiled.STORED and not rest
            runs.extend([1] * is_over)
            return compiled.OTHERWISE if is_over else end, rest, *more

    def send(node: Node) -> object:
        monkeypatch.setattr(short_run, "usual_run", SimpleNamespace(UsualRun=Impatient))
        return all_told(node, one_by_one(SERIES, *range(1, 21)))

    runs = list[int]()
    monkeypatch.setattr(short_run, "MOST", 1)
    by_both_ways(monkeypatch, send)

    assert len(runs) == 19
