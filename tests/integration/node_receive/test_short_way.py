"""Over the wire nobody can tell which way an instance took, nor can who looks at what is kept."""

from __future__ import annotations

import socket
import time

import pytest

from config.settings import StorageSettings
from storage.instance_files import InstanceFiles
from tests.integration.node_receive.both_ways import (
    END,
    MR,
    OTHER_SERIES,
    Node,
    answers,
    by_both_ways,
    command,
    compiled,
    slice_of,
    stored,
)
from tests.integration.node_receive.mr_study import SERIES
from tests.peers.raw_dicom import (
    A_ABORT,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    C_ECHO_RQ,
    COMMAND,
    EXPLICIT,
    LAST,
    VERIFICATION,
    RawPeer,
    command_set,
    p_data,
    pdu,
    pdv,
    store_command,
)
from tests.unit.node_receive.like_slices import Field

MIB = 1 << 20
LIKE = [stored(number, slice_of(number)) for number in (1, 2, 3)]
ECHO = p_data(pdv(1, COMMAND | LAST, command_set(C_ECHO_RQ, sop_class=VERIFICATION)))
NINE = f"{SERIES}.9"
END_OF_SEQUENCE = b"\xfe\xff\xdd\xe0\0\0\0\0"


def two_values(number: int) -> bytes:
    content = slice_of(number)
    values = pdv(MR, 0, content[:400]) + pdv(MR, LAST, content[400:])
    return command(f"{SERIES}.{number}", number) + p_data(values)


def with_the_command(number: int) -> bytes:
    """The data set begins in the PDU that has the command set."""
    content, request = slice_of(number), store_command(f"{SERIES}.{number}", message_id=number)
    values = pdv(MR, COMMAND | LAST, request) + pdv(MR, 0, content[:400])
    return p_data(values) + p_data(pdv(MR, LAST, content[400:]))


def with_an_echo(number: int) -> bytes:
    """The data set ends in the PDU that has the next command set; another one waits behind."""
    content, after = slice_of(number), stored(number + 1, slice_of(number + 1))
    echo = command_set(C_ECHO_RQ, sop_class=VERIFICATION)
    values = pdv(MR, LAST, content[400:]) + pdv(1, COMMAND | LAST, echo)
    begin = command(f"{SERIES}.{number}", number) + p_data(pdv(MR, 0, content[:400]))
    return begin + p_data(values) + after


def odd_values(number: int) -> bytes:
    content = slice_of(number)
    values = [content[:400], b"", content[400:], b""]
    pdus = [p_data(pdv(MR, LAST * (at == 3), value)) for at, value in enumerate(values)]
    return command(f"{SERIES}.{number}", number) + b"".join(pdus)


VARIATIONS = {
    "like the others": stored(9, slice_of(9)),
    "in small fragments": stored(9, slice_of(9), size=64),
    "in odd fragments": stored(9, slice_of(9), size=333),
    "two values in a PDU": two_values(9),
    "empty values": odd_values(9),
    "begun with the command": with_the_command(9),
    "ended with an echo": with_an_echo(9),
    "large": stored(9, slice_of(9, PixelData=bytes(MIB - 5000)), size=16000),
    "larger than the memory": stored(9, slice_of(9, PixelData=bytes(2 * MIB)), size=16000),
    "the same again": stored(2, slice_of(2)),
    "another version": stored(2, slice_of(2, ImageComments="changed")),
    "another patient": stored(9, slice_of(9, PatientID="P2")),
    "another name": stored(9, slice_of(9, PatientName="Roe^Jack")),
    "another series": stored(9, slice_of(9, SeriesInstanceUID=OTHER_SERIES)),
    "another series description": stored(9, slice_of(9, SeriesDescription="T2")),
    "no number": stored(9, slice_of(9, InstanceNumber=None)),
    "a number that is not plain": stored(9, slice_of(9).replace(b"IS\2\x009 ", b"IS\2\0+9")),
    "another uid than the command": stored(9, slice_of(9), uid=f"{SERIES}.8"),
    "no uid in the command": stored(9, slice_of(9), uid=" "),
    "an odd uid": stored(9, slice_of(9, SOPInstanceUID="1.02.3"), uid="1.02.3"),
    "a long uid": stored(9, slice_of(9, SOPInstanceUID=NINE + "1" * 25), uid=NINE + "1" * 25),
    "cut": stored(9, slice_of(9)[:-1]),
    "cut in the header": stored(9, slice_of(9)[:200]),
    "more behind": stored(9, slice_of(9) + b"\1\2"),
    "padding behind": stored(9, slice_of(9) + bytes(8)),
    "nothing": stored(9, b""),
    "group 2": stored(9, b"\2\0\x10\0UI\x02\x001\0" + slice_of(9)),
    "two groups 2": stored(9, b"\2\0\x10\0UI\x02\x001\0" + slice_of(9)) * 2,
    "another SOP class": command(NINE).replace(b".4.1.1.4", b".4.1.1.2")
    + p_data(pdv(MR, LAST, slice_of(9))),
    "another manufacturer": stored(9, slice_of(9, Manufacturer="Other")),
    "an echo between": stored(9, slice_of(9)) + ECHO,
}
ENDS = {
    "an abort": pdu(A_ABORT),
    "a release": pdu(A_RELEASE_RQ),
    "another context": p_data(pdv(5, 0, b"x")),
    "a command": p_data(pdv(MR, COMMAND | LAST, store_command(NINE))),
    "a PDU too long": pdu(4, length=1 << 24),
    "no PDU": pdu(9),
    "the end": b"",
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_an_instance_after_like_ones_is_answered_and_kept_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = stored(4, slice_of(4))

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for each in (*LIKE, VARIATIONS[name], last):
                peer.send(each)
                told += answers(peer, each.count(b"\0\0\0\1\2\0\0\0") or 1)
            peer.send(pdu(A_RELEASE_RQ))
            assert peer.receive() == (A_RELEASE_RP, bytes(4))
        return told

    _, _, ends = by_both_ways(monkeypatch, send)

    if name in ("like the others", "in small fragments", "in odd fragments", "large"):
        assert ends.count(compiled.STORED) >= 2


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("at", [0, 100, 700])
def test_an_association_that_ends_within_an_instance_ends_the_same(
    name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = slice_of(9)
    begun = command(NINE) + b"".join(
        p_data(pdv(MR, 0, content[begin : begin + 100])) for begin in range(0, at, 100)
    )

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for each in LIKE:
                peer.send(each)
                told += answers(peer, 1)
            peer.send(begun + ENDS[name])
            peer.connection.shutdown(socket.SHUT_WR)
            return told + answers(peer, 1)

    told, found, _ = by_both_ways(monkeypatch, send)

    assert [status for _, status in told[:3]] == [0, 0, 0]
    assert told[3][0] == END
    assert len(found.rows) == 3


def test_many_that_come_without_waiting_for_answers_are_all_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = [stored(number, slice_of(number), size=700) for number in range(1, 41)]

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            peer.send(b"".join(requests), pdu(A_RELEASE_RQ))
            return answers(peer, 41)

    told, found, ends = by_both_ways(monkeypatch, send)

    assert told[:40] == [(number, 0) for number in range(1, 41)]
    assert len(found.rows) == 40
    assert ends.count(compiled.STORED) >= 35


def test_what_is_never_like_the_one_before_is_seldom_tried_and_what_is_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nested = Field(0x7FE11010, b"SQ", END_OF_SEQUENCE).encoded(EXPLICIT, 0xFFFFFFFF)
    tails = [b""] * 4 + [nested] * 32 + [b""] * 40

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for number, tail in enumerate(tails, 1):
                peer.send(stored(number, slice_of(number) + tail))
                told += answers(peer, 1)
        return told

    told, _, ends = by_both_ways(monkeypatch, send)

    assert [status for _, status in told] == [0] * len(tails)
    assert ends.count(compiled.OTHERWISE) == 6
    assert ends[-1] == compiled.STORED
    assert len(ends) < 20


def test_a_sender_that_stalls_within_an_instance_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = stored(4, slice_of(4), size=500)

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for each in LIKE:
                peer.send(each)
                told += answers(peer, 1)
            peer.send(wire[:900])
            time.sleep(1.2)
            peer.send(wire[900:], stored(5, slice_of(5)), pdu(A_RELEASE_RQ))
            return told + answers(peer, 3)

    told, found, ends = by_both_ways(monkeypatch, send)

    assert [status for _, status in told[:5]] == [0] * 5
    assert len(found.rows) == 5
    assert compiled.OTHERWISE in ends


@pytest.mark.parametrize("beyond", [0, 2])
def test_the_largest_instance_that_a_sender_may_send_is_the_same(
    beyond: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = slice_of(9, PixelData=bytes(MIB + beyond - len(slice_of(9, PixelData=b""))))
    assert len(content) == MIB + beyond

    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for each in (*LIKE, stored(9, content, size=16000), stored(4, slice_of(4))):
                peer.send(each)
                told += answers(peer, 1)
        return told

    told, _, ends = by_both_ways(monkeypatch, send, max_instance_mib=1)

    assert [status for _, status in told] == [0, 0, 0, 0x0124 if beyond else 0, 0]
    assert (compiled.OTHERWISE in ends) == (beyond > 0)


def test_a_disk_that_is_low_is_told_by_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            told = []
            for number in range(1, 6):
                with monkeypatch.context() as patch:
                    if number == 4:
                        # A disk is looked at now and then, before some instances come.
                        time.sleep(0.1)
                        patch.setattr(InstanceFiles, "is_low", lambda *_: True)
                    peer.send(stored(number, slice_of(number)))
                    told += answers(peer, 1)
        return told

    told, found, ends = by_both_ways(monkeypatch, send)

    assert [status for _, status in told] == [0, 0, 0, 0xA700, 0]
    assert len(found.rows) == 4
    assert compiled.STORED in ends


def test_where_every_answer_waits_for_the_disk_there_is_no_short_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def send(node: Node) -> object:
        with RawPeer(node.port) as peer:
            peer.associate()
            peer.send(*LIKE, stored(4, slice_of(4)))
            return answers(peer, 4)

    safe = StorageSettings(disk_low_mib=0, durability="fsync")
    assert by_both_ways(monkeypatch, send, safe)[2] == []
    assert by_both_ways(monkeypatch, send, max_instances_per_s=1000)[2] == []
    assert by_both_ways(monkeypatch, send)[2]
