"""The receive lane against a scripted peer: the association request (PS3.8 9.3.2, PS3.7 D.3)."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.integration.node_receive.running_listener import Running
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    A_ABORT,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RQ,
    C_ECHO_RQ,
    COMMAND,
    EXPLICIT,
    IMPLICIT,
    LAST,
    MR_IMAGE,
    VERIFICATION,
    RawPeer,
    accepted_contexts,
    associate_request,
    command_set,
    context,
    item,
    p_data,
    pdu,
    pdv,
)

ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4
COMMITMENT = "1.2.840.10008.1.20.1"

USER, PROVIDER = 0, 2

INVALID_PARAMETER = 6


def _answer(running: Running, request: bytes) -> tuple[int, bytes]:
    with RawPeer(running.port) as peer:
        peer.send(request)
        answer = peer.receive()
        assert answer is not None
        return answer


def test_each_context_gets_its_own_result(running: Running) -> None:
    contexts = [
        context(1, VERIFICATION, IMPLICIT),
        context(3, MR_IMAGE, "1.2.3.4", EXPLICIT),
        context(5, MR_IMAGE, "1.2.3.4"),
        context(7, COMMITMENT, IMPLICIT),
    ]
    with RawPeer(running.port) as peer:
        results = accepted_contexts(peer.associate(associate_request(contexts)))

    assert results == {
        1: ACCEPTED,
        3: ACCEPTED,
        5: TRANSFER_SYNTAXES_NOT_SUPPORTED,
        7: ABSTRACT_SYNTAX_NOT_SUPPORTED,
    }


def test_the_next_association_gets_the_same_answer_and_works(running: Running) -> None:
    answers = []
    for _ in range(3):
        with RawPeer(running.port) as peer:
            answers.append(peer.associate())
            peer.send(p_data(pdv(1, COMMAND | LAST, command_set(C_ECHO_RQ))))
            assert peer.receive() is not None

    assert answers[0] == answers[1] == answers[2]


def test_the_accept_repeats_the_titles_and_says_what_we_take(running: Running) -> None:
    with RawPeer(running.port) as peer:
        body = peer.associate()

    assert body[4:36] == b"RADNODE".ljust(16) + b"PACS".ljust(16)
    assert b"\x51\0\0\x04" + struct.pack(">I", 131072) in body


@pytest.mark.parametrize(
    ("request_pdu", "reason"),
    [
        (associate_request(called=b"OTHER"), (1, 1, 7)),
        (associate_request(calling=b"STRANGER"), (1, 1, 3)),
        (associate_request(calling=b"PA\x00CS"), (1, 1, 3)),
        (associate_request(calling=b"PACS\xc4"), (1, 1, 3)),
        (associate_request(calling=b""), (1, 1, 3)),
        (associate_request(version=2), (1, 2, 2)),
        (associate_request(application_context="1.2.3"), (1, 1, 2)),
    ],
    ids=["called", "calling", "nul", "latin", "empty", "version", "application_context"],
)
def test_a_rejection_says_why(
    running: Running, request_pdu: bytes, reason: tuple[int, int, int]
) -> None:
    assert _answer(running, request_pdu) == (A_ASSOCIATE_RJ, bytes([0, *reason]))


@pytest.mark.parametrize("version", [1, 3, 0xFFFF])
def test_a_peer_that_speaks_later_versions_too_is_accepted(running: Running, version: int) -> None:
    kind, _ = _answer(running, associate_request(version=version))

    assert kind == A_ASSOCIATE_AC


@pytest.mark.parametrize(
    "first",
    [
        p_data(pdv(1, COMMAND | LAST, command_set(C_ECHO_RQ))),
        pdu(A_RELEASE_RQ),
        pdu(A_ASSOCIATE_AC, bytes(80)),
        b"GET / HTTP/1.1\r\n\r\n",
        pdu(A_ASSOCIATE_RQ, b"", length=1 << 30),
    ],
    ids=["data", "release", "accept", "http", "gibibyte"],
)
def test_something_else_than_a_request_is_aborted(running: Running, first: bytes) -> None:
    kind, body = _answer(running, first)

    assert (kind, body[2]) == (A_ABORT, USER)


def test_an_abort_instead_of_a_request_closes_the_connection(running: Running) -> None:
    with RawPeer(running.port) as peer:
        peer.send(pdu(A_ABORT))

        assert peer.receive() is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(67),
        associate_request()[6:90],
        associate_request()[6:74] + b"\x20\0\xff\xff" + bytes(10),
        associate_request([context(1, MR_IMAGE)])[6:],
        associate_request([context(1, "not a uid " * 20, EXPLICIT)] * 129)[6:],
        associate_request([context(n % 255 | 1, MR_IMAGE, EXPLICIT) for n in range(0, 258, 2)])[6:],
        associate_request([context(1, MR_IMAGE, *(f"1.2.{n}" for n in range(300)))])[6:],
        associate_request([context(1, VERIFICATION, IMPLICIT), context(1, MR_IMAGE, EXPLICIT)])[6:],
        associate_request([context(2, MR_IMAGE, EXPLICIT)])[6:],
        associate_request([item(0x20, b"\1\0")])[6:],
        associate_request(roles=[item(0x51, b"\0\0")])[6:],
        associate_request(roles=[item(0x54, b"\1\0" + b"1.2")])[6:],
    ],
    ids=[
        "empty",
        "short",
        "cut",
        "item_beyond",
        "no_syntax",
        "129_contexts",
        "129_good_contexts",
        "300_syntaxes",
        "one_id_twice",
        "even_id",
        "context_of_two_bytes",
        "short_maximum",
        "role_cut",
    ],
)
def test_a_request_that_is_none_is_aborted(running: Running, body: bytes) -> None:
    with RawPeer(running.port) as peer:
        peer.send(pdu(A_ASSOCIATE_RQ, body))

        assert peer.abort_reason() == (PROVIDER, INVALID_PARAMETER)
    with RawPeer(running.port) as other:
        other.associate()


@pytest.mark.parametrize(
    "odd",
    [
        item(0x99, b"of a later edition"),
        item(0x53, b"\0"),
        item(0x52, b"\xff\xfe"),
        item(0x55, b"v" * 300),
        item(0x56, b"\xff" * 900),
        item(0x58, bytes([77, 1]) + b"\xff\xff"),
        item(0x58, b"\2\1" + (struct.pack(">H", 30000) + b"p" * 30000) * 2),
    ],
    ids=["unknown", "window", "class_uid", "version", "extended", "identity", "long_identity"],
)
def test_what_nobody_uses_of_a_request_costs_no_association(running: Running, odd: bytes) -> None:
    beside = item(0x77, b"unknown as well")
    with RawPeer(running.port) as peer:
        contexts = [beside, context(1, VERIFICATION, IMPLICIT)]

        assert accepted_contexts(peer.associate(associate_request(contexts, roles=[odd]))) == {1: 0}


@pytest.mark.parametrize("most", [0, 1, 6, 7, 2**32 - 1])
def test_any_maximum_length_of_the_peer_lets_it_have_its_answer(
    running: Running, most: int
) -> None:
    with RawPeer(running.port) as peer:
        peer.associate(associate_request(max_pdu_bytes=most))
        peer.send(p_data(pdv(1, COMMAND | LAST, command_set(C_ECHO_RQ, sop_class=VERIFICATION))))

        assert peer.reply().status == 0


def test_a_port_scan_leaves_no_thread_behind(running: Running) -> None:
    connections = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(5)]
    for connection in connections:
        connection.close()

    wait_until(
        lambda: _answer(running, associate_request())[0] == A_ASSOCIATE_AC, what="an association"
    )
