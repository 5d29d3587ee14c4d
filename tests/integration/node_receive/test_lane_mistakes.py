"""Mistakes of a peer, each answered as PS3.8 says; what is half is not kept."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from storage.studies import list_studies, open_studies
from tests.integration.node_receive.conforming_peer import (
    DATA_SET,
    ECHO,
    EXPLICIT_MR,
    IMPLICIT_MR,
    INSTANCE,
    RQ,
    SUCCESS,
    UNKNOWN_CONTEXT,
    UNRECOGNISED_OPERATION,
    kept,
    peer,
)
from tests.integration.node_receive.mr_study import SERIES, mr_instance
from tests.integration.node_receive.running_listener import (
    Running,
)
from tests.integration.node_receive.sender import encoded
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    A_ABORT,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    C_CANCEL_RQ,
    C_FIND_RQ,
    COMMAND,
    DATA,
    LAST,
    P_DATA_TF,
    WITH_DATA_SET,
    RawPeer,
    associate_request,
    command_set,
    p_data,
    pdu,
    pdv,
)

__all__ = ["peer"]


PROVIDER, USER = 2, 0

NOT_SPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU = 0, 1, 2

UNEXPECTED_PARAMETER, INVALID_PARAMETER = 5, 6


def _assert_ended(running: Running, peer: RawPeer) -> None:
    """Nothing is left, and the next sender is served."""
    peer.connection.shutdown(socket.SHUT_WR)
    assert peer.receive() is None
    incoming = running.files.incoming_dir
    wait_until(lambda: not list(incoming.iterdir()), what="an empty incoming folder")
    with RawPeer(running.port) as other:
        other.associate()
        assert other.store(EXPLICIT_MR, f"{SERIES}.2", encoded(mr_instance(2))) == SUCCESS
        other.release()


Script = Callable[[], bytes]

MISTAKES: dict[str, tuple[Script, tuple[int, int]]] = {
    "another context inside a message": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ), pdv(IMPLICIT_MR, DATA, DATA_SET)),
        (PROVIDER, UNEXPECTED_PARAMETER),
    ),
    "a second command inside a message": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ), pdv(EXPLICIT_MR, COMMAND | LAST, RQ)),
        (PROVIDER, UNEXPECTED_PARAMETER),
    ),
    "a data set before its command": (
        lambda: p_data(pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)),
        (PROVIDER, UNEXPECTED_PARAMETER),
    ),
    "a data set inside a command": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND, RQ[:20]), pdv(EXPLICIT_MR, DATA, DATA_SET)),
        (PROVIDER, UNEXPECTED_PARAMETER),
    ),
    "a context that was not accepted": (
        lambda: p_data(pdv(UNKNOWN_CONTEXT, COMMAND | LAST, RQ)),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a PDV longer than its PDU": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ, length=10_000)),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a PDV of length 0": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ, length=0)),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a PDV of length 1": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ, length=1)),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a rest that is no PDV": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ), b"\0\0\0"),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a P-DATA-TF without a PDV": (lambda: pdu(P_DATA_TF, b""), (PROVIDER, INVALID_PARAMETER)),
    "a PDU longer than was agreed": (
        lambda: pdu(P_DATA_TF, b"", length=131072 + 1),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a PDU of 4 GiB": (
        lambda: pdu(P_DATA_TF, b"", length=0xFFFFFFFF),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a command set that is none": (
        lambda: p_data(pdv(EXPLICIT_MR, COMMAND | LAST, b"no command set")),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a command set that never ends": (
        lambda: b"".join(p_data(pdv(EXPLICIT_MR, COMMAND, bytes(60_000))) for _ in range(2)),
        (PROVIDER, INVALID_PARAMETER),
    ),
    "a PDU type that does not exist": (lambda: pdu(0x47), (PROVIDER, UNRECOGNISED_PDU)),
    "a second association request": (associate_request, (PROVIDER, UNEXPECTED_PDU)),
    "an answer to a request of ours": (lambda: pdu(2, bytes(80)), (PROVIDER, UNEXPECTED_PDU)),
    "a release that we did not ask for": (lambda: pdu(A_RELEASE_RP), (PROVIDER, UNEXPECTED_PDU)),
    "a release of another length": (
        lambda: pdu(A_RELEASE_RQ, bytes(8)),
        (PROVIDER, INVALID_PARAMETER),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_by_an_abort_that_says_what_it_was(
    running: Running, peer: RawPeer, name: str
) -> None:
    script, reason = MISTAKES[name]

    peer.send(script())

    assert peer.abort_reason() == reason
    _assert_ended(running, peer)
    assert [record.sop_instance_uid for record in kept(running)] == [f"{SERIES}.2"]


def _half_an_instance(peer: RawPeer, running: Running) -> None:
    peer.send(
        p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ)),
        p_data(pdv(EXPLICIT_MR, DATA, DATA_SET[:-100])),
    )
    wait_until(lambda: list(running.files.incoming_dir.iterdir()), what="half an instance")


@pytest.mark.parametrize(
    ("last_word", "end"),
    [(pdu(A_ABORT), "aborted"), (b"", "lost"), (pdu(A_RELEASE_RQ), "aborted")],
    ids=["abort", "silence", "release"],
)
def test_half_an_instance_leaves_nothing_and_is_no_clean_end(
    running: Running, peer: RawPeer, last_word: bytes, end: str
) -> None:
    assert peer.store(EXPLICIT_MR, f"{SERIES}.9", encoded(mr_instance(9))) == SUCCESS
    _half_an_instance(peer, running)

    peer.send(last_word)
    peer.connection.shutdown(socket.SHUT_WR)

    assert running.changes.acquire(timeout=10)
    (progress,) = open_studies(running.db)
    assert progress.last_association_end == end
    assert list(running.files.incoming_dir.iterdir()) == []
    assert [record.sop_instance_uid for record in kept(running)] == [f"{SERIES}.9"]


def test_after_the_release_nothing_more_is_done(running: Running, peer: RawPeer) -> None:
    peer.release()

    peer.send(p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ), pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)))
    peer.send(pdu(A_ASSOCIATE_RQ, bytes(68)))

    assert peer.abort_reason()[0] == USER
    assert list_studies(running.db, 10) == ()


def test_an_operation_that_nobody_offers_is_refused_and_the_association_goes_on(
    running: Running, peer: RawPeer
) -> None:
    peer.send(
        p_data(
            pdv(EXPLICIT_MR, COMMAND | LAST, command_set(C_FIND_RQ, data_set=WITH_DATA_SET)),
            pdv(EXPLICIT_MR, DATA | LAST, DATA_SET),
        )
    )

    assert peer.reply().status == UNRECOGNISED_OPERATION
    assert peer.store(EXPLICIT_MR, INSTANCE, DATA_SET) == SUCCESS


def test_storing_on_the_context_of_another_service_is_refused(
    running: Running, peer: RawPeer
) -> None:
    assert peer.store(ECHO, INSTANCE, DATA_SET) == UNRECOGNISED_OPERATION
    assert list_studies(running.db, 10) == ()
    assert peer.store(EXPLICIT_MR, INSTANCE, DATA_SET) == SUCCESS


def test_what_asks_for_no_answer_gets_none(peer: RawPeer) -> None:
    for field in (C_CANCEL_RQ, 0x8001):
        peer.send(p_data(pdv(EXPLICIT_MR, COMMAND | LAST, command_set(field))))

    assert peer.store(EXPLICIT_MR, INSTANCE, DATA_SET) == SUCCESS


def test_a_store_without_a_data_set_is_not_understood(peer: RawPeer) -> None:
    peer.send(p_data(pdv(EXPLICIT_MR, COMMAND | LAST, command_set(1, sop_instance=INSTANCE))))

    assert peer.reply().status == 0xC000
