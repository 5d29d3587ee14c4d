"""The receive lane against a scripted peer: data transfer, PDU by PDU (PS3.8 9, PS3.7 6.3)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.dicom_records import InstanceRecord
from storage.instances import instances_of_series
from storage.studies import list_studies, open_studies
from tests.integration.node_receive.mr_study import SERIES, dataset_bytes, mr_instance
from tests.integration.node_receive.running_listener import (
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import encoded
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    A_ABORT,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_FIND_RQ,
    C_STORE_RQ,
    COMMAND,
    DATA,
    LAST,
    MR_IMAGE,
    P_DATA_TF,
    VERIFICATION,
    WITH_DATA_SET,
    RawPeer,
    associate_request,
    command_set,
    element,
    p_data,
    pdu,
    pdv,
    store_command,
)

PROVIDER, USER = 2, 0
NOT_SPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU = 0, 1, 2
UNEXPECTED_PARAMETER, INVALID_PARAMETER = 5, 6
SUCCESS, UNRECOGNISED_OPERATION = 0x0000, 0x0211
ECHO, EXPLICIT_MR, IMPLICIT_MR, UNKNOWN_CONTEXT = 1, 3, 5, 7

INSTANCE = f"{SERIES}.1"
DATA_SET = encoded(mr_instance(1))
RQ = store_command(INSTANCE)


@pytest.fixture
def peer(running: Running) -> Iterator[RawPeer]:
    with RawPeer(running.port) as raw:
        raw.associate()
        yield raw


def _kept(running: Running) -> tuple[InstanceRecord, ...]:
    return instances_of_series(running.db, SERIES)


def _assert_stored_whole(running: Running) -> None:
    (record,) = _kept(running)
    assert dataset_bytes(running.files.absolute(record.path)) == DATA_SET


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


def _cut(content: bytes, step: int) -> list[bytes]:
    return [content[at : at + step] for at in range(0, len(content), step)]


def _fragments(kind: int, content: bytes, step: int) -> list[bytes]:
    *first, last = _cut(content, step)
    return [pdv(EXPLICIT_MR, kind, part) for part in first] + [pdv(EXPLICIT_MR, kind | LAST, last)]


def test_an_instance_is_stored_and_released(running: Running, peer: RawPeer) -> None:
    assert peer.store(EXPLICIT_MR, INSTANCE, DATA_SET) == SUCCESS
    _assert_stored_whole(running)

    peer.release()

    assert running.changes.acquire(timeout=10)
    (progress,) = open_studies(running.db)
    assert progress.last_association_end == "released"


@pytest.mark.parametrize(
    "lie",
    [element(0, struct.pack("<I", 99999)), element(0, bytes(4)), element(0, b"\0\0"), b""],
    ids=["too_long", "zero", "two_bytes", "none"],
)
def test_a_group_length_that_lies_does_not_matter(
    running: Running, peer: RawPeer, lie: bytes
) -> None:
    moved = element(0x1030, b"MOVER ") + element(0x1031, struct.pack("<H", 7))
    honest = command_set(C_STORE_RQ, sop_instance=INSTANCE, data_set=WITH_DATA_SET, more=moved)

    peer.send(p_data(pdv(EXPLICIT_MR, COMMAND | LAST, lie + honest[12:])))
    peer.send(p_data(pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)))

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


def test_the_response_names_what_it_answers(peer: RawPeer) -> None:
    peer.send(
        p_data(pdv(EXPLICIT_MR, COMMAND | LAST, store_command(INSTANCE, message_id=0xBEEF))),
        p_data(pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)),
    )

    reply = peer.reply()

    assert reply.context_id == EXPLICIT_MR
    assert reply.message_id == 0xBEEF
    assert reply.command[0x0002] == MR_IMAGE.encode() + b"\0"
    assert reply.command[0x0100] == b"\x01\x80"
    assert reply.command[0x0800] == b"\x01\x01"
    assert reply.command[0x1000].rstrip(b"\0") == INSTANCE.encode()
    assert int.from_bytes(reply.command[0], "little") == sum(
        8 + len(value) for number, value in reply.command.items() if number
    )


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_data_set_may_come_in_any_fragments(running: Running, peer: RawPeer, step: int) -> None:
    peer.send(p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ)))
    for fragment in _fragments(DATA, DATA_SET, step):
        peer.send(p_data(fragment))

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


@pytest.mark.parametrize("step", [1, 8, 33])
def test_a_command_may_come_in_any_fragments(running: Running, peer: RawPeer, step: int) -> None:
    for fragment in _fragments(COMMAND, RQ, step):
        peer.send(p_data(fragment))
    peer.send(p_data(pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)))

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


def test_one_pdu_may_hold_command_and_data_set(running: Running, peer: RawPeer) -> None:
    peer.send(
        p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ), *_fragments(DATA, DATA_SET, 200)),
    )

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


def test_one_pdu_may_hold_two_messages(running: Running, peer: RawPeer) -> None:
    second = encoded(mr_instance(2))
    peer.send(
        p_data(
            pdv(EXPLICIT_MR, COMMAND | LAST, RQ),
            pdv(EXPLICIT_MR, DATA | LAST, DATA_SET),
            pdv(EXPLICIT_MR, COMMAND | LAST, store_command(f"{SERIES}.2", message_id=2)),
            pdv(EXPLICIT_MR, DATA | LAST, second),
        )
    )

    replies = [peer.reply(), peer.reply()]

    assert [(reply.message_id, reply.status) for reply in replies] == [(1, SUCCESS), (2, SUCCESS)]
    assert len(_kept(running)) == 2


def test_a_pdv_may_take_many_reads(running: Running, peer: RawPeer) -> None:
    whole = p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ)) + p_data(
        pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)
    )
    for part in _cut(whole, 61):
        peer.send(part)

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


def test_pdvs_without_a_byte_change_nothing(running: Running, peer: RawPeer) -> None:
    nothing = p_data(pdv(EXPLICIT_MR, DATA))
    peer.send(
        p_data(pdv(EXPLICIT_MR, COMMAND), pdv(EXPLICIT_MR, COMMAND, RQ)),
        p_data(pdv(EXPLICIT_MR, COMMAND | LAST)),
        nothing,
        p_data(pdv(EXPLICIT_MR, DATA, DATA_SET)),
        nothing,
        p_data(pdv(EXPLICIT_MR, DATA | LAST)),
    )

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


def test_reserved_bits_of_the_control_header_mean_nothing(running: Running, peer: RawPeer) -> None:
    peer.send(
        p_data(pdv(EXPLICIT_MR, 0xF4 | COMMAND | LAST, RQ)),
        p_data(pdv(EXPLICIT_MR, 0xA8 | DATA | LAST, DATA_SET)),
    )

    assert peer.reply().status == SUCCESS
    _assert_stored_whole(running)


def test_contexts_may_change_from_message_to_message(running: Running, peer: RawPeer) -> None:
    implicit = encoded(mr_instance(2), implicit=True)

    assert peer.store(EXPLICIT_MR, INSTANCE, DATA_SET) == SUCCESS
    assert peer.store(IMPLICIT_MR, f"{SERIES}.2", implicit) == SUCCESS
    peer.send(p_data(pdv(ECHO, COMMAND | LAST, command_set(C_ECHO_RQ, sop_class=VERIFICATION))))
    assert peer.reply().status == SUCCESS
    assert peer.store(EXPLICIT_MR, f"{SERIES}.3", encoded(mr_instance(3))) == SUCCESS

    syntaxes = [record.transfer_syntax_uid for record in _kept(running)]
    assert syntaxes == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]


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
    assert [record.sop_instance_uid for record in _kept(running)] == [f"{SERIES}.2"]


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
    assert [record.sop_instance_uid for record in _kept(running)] == [f"{SERIES}.9"]


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


@pytest.mark.parametrize("longest", [8, 64, 0])
def test_answers_come_in_pdus_that_the_peer_takes(running: Running, longest: int) -> None:
    with RawPeer(running.port) as peer:
        peer.associate(associate_request(max_pdu_bytes=longest))
        peer.send(
            p_data(
                pdv(EXPLICIT_MR, COMMAND | LAST, RQ),
                pdv(EXPLICIT_MR, DATA | LAST, DATA_SET),
            )
        )
        sizes = []
        receive = peer.receive

        def measured() -> tuple[int, bytes] | None:
            answer = receive()
            sizes.append(len(answer[1]) if answer else 0)
            return answer

        peer.receive = measured  # type: ignore[method-assign]
        assert peer.reply().status == SUCCESS
    assert len(sizes) == 1 if longest == 0 else max(sizes) <= longest


def test_a_byte_now_and_then_holds_no_association(
    start_listener: StartListener, tmp_path: Path
) -> None:
    running = start_listener(receive_settings(network_timeout_s=1, dimse_timeout_s=1))
    with RawPeer(running.port) as peer:
        peer.associate()
        assert peer.store(EXPLICIT_MR, INSTANCE, DATA_SET) == SUCCESS
        peer.send(p_data(pdv(EXPLICIT_MR, COMMAND | LAST, store_command(f"{SERIES}.2"))))
        drip = p_data(pdv(EXPLICIT_MR, DATA, b"\0"))
        peer.connection.settimeout(0.1)

        def is_over() -> bool:
            try:
                peer.send(drip)
                return bool(peer.connection.recv(1))
            except TimeoutError:
                return False

        wait_until(is_over, what="an abort", interval_s=0.01)

    wait_until(lambda: not list(running.files.incoming_dir.iterdir()), what="no half instance")


def test_what_comes_after_a_header_in_drops_is_given_up(start_listener: StartListener) -> None:
    running = start_listener(receive_settings(network_timeout_s=1))
    with RawPeer(running.port) as peer:
        peer.send(struct.pack(">BxI", A_ASSOCIATE_RQ, 1000))

        def is_over() -> bool:
            try:
                peer.send(b"\0")
                peer.connection.settimeout(0.1)
                return peer.connection.recv(1) is not None
            except TimeoutError:
                return False

        wait_until(is_over, what="the end of a request in drops", interval_s=0.01)
