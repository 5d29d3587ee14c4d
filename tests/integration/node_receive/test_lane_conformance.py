"""The receive lane against a scripted peer: data transfer, PDU by PDU (PS3.8 9, PS3.7 6.3)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from storage.studies import open_studies
from tests.integration.node_receive.conforming_peer import (
    DATA_SET,
    ECHO,
    EXPLICIT_MR,
    IMPLICIT_MR,
    INSTANCE,
    RQ,
    SUCCESS,
    kept,
    peer,
)
from tests.integration.node_receive.mr_study import SERIES, dataset_bytes, mr_instance
from tests.integration.node_receive.running_listener import (
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import encoded
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    A_ASSOCIATE_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    COMMAND,
    DATA,
    LAST,
    MR_IMAGE,
    VERIFICATION,
    WITH_DATA_SET,
    RawPeer,
    associate_request,
    command_set,
    element,
    p_data,
    pdv,
    store_command,
)

__all__ = ["peer"]


def _assert_stored_whole(running: Running) -> None:
    (record,) = kept(running)
    assert dataset_bytes(running.files.absolute(record.path)) == DATA_SET


def cut(content: bytes, step: int) -> list[bytes]:
    return [content[at : at + step] for at in range(0, len(content), step)]


def _fragments(kind: int, content: bytes, step: int) -> list[bytes]:
    *first, last = cut(content, step)
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
    wait_until(lambda: len(kept(running)) == 2, what="both rows")


def test_a_pdv_may_take_many_reads(running: Running, peer: RawPeer) -> None:
    whole = p_data(pdv(EXPLICIT_MR, COMMAND | LAST, RQ)) + p_data(
        pdv(EXPLICIT_MR, DATA | LAST, DATA_SET)
    )
    for part in cut(whole, 61):
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

    wait_until(lambda: len(kept(running)) == 3, what="all rows")
    syntaxes = [record.transfer_syntax_uid for record in kept(running)]
    assert syntaxes == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]


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
