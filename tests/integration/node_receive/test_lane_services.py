"""Services beside storage: their roles are granted, their requests decoded and answered."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from node.receive.services import ServiceAnswer, ServiceRequest
from tests.integration.node_receive.running_listener import Running, StartListener
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    COMMAND,
    DATA,
    EXPLICIT,
    LAST,
    MR_IMAGE,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    WITH_DATA_SET,
    RawPeer,
    accepted_contexts,
    accepted_roles,
    associate_request,
    command_set,
    context,
    element,
    p_data,
    pdv,
    role,
    uid_value,
)

ACCEPTED = 0
COMMITMENT = "1.2.840.10008.1.20.1"

COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"

PROCESSING_FAILURE, INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0110, 0x0115, 0x0213


@dataclass
class Commitment:
    """A service that remembers its requests and answers as it is told."""

    sop_classes: tuple[str, ...] = (COMMITMENT,)
    accepts_scp_role_reversal: bool = True
    reply: ServiceAnswer = field(default_factory=lambda: ServiceAnswer(0))
    requests: list[ServiceRequest] = field(default_factory=list)

    def answer(self, request: ServiceRequest) -> ServiceAnswer:
        self.requests.append(request)
        if self.reply.status < 0:
            raise RuntimeError("a service that fails")
        return self.reply


@pytest.fixture
def service() -> Commitment:
    return Commitment()


@pytest.fixture
def serving(start_listener: StartListener, service: Commitment) -> Running:
    return start_listener(services=(service,))


COMMITMENT_CONTEXTS = [context(1, COMMITMENT, EXPLICIT), context(3, MR_IMAGE, EXPLICIT)]


@pytest.mark.parametrize(("scu", "scp"), [(True, False), (False, True), (True, True)])
def test_the_roles_that_were_asked_for_are_granted(
    serving: Running, *, scu: bool, scp: bool
) -> None:
    roles = [role(COMMITMENT, scu=scu, scp=scp), role(MR_IMAGE, scu=False, scp=True)]
    with RawPeer(serving.port) as peer:
        body = peer.associate(associate_request(COMMITMENT_CONTEXTS, roles=roles))

    assert accepted_contexts(body)[1] == ACCEPTED
    assert accepted_roles(body) == {COMMITMENT: (int(scu), int(scp))}


def _transaction() -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = "1.2.3.4"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR_IMAGE, "1.2.3.5"
    dataset.ReferencedSOPSequence = [item]
    return dataset


def _send(peer: RawPeer, number: int, field_: int, data_set: bytes | None) -> None:
    numbers = {N_ACTION_RQ: (0x1001, 0x1008), N_EVENT_REPORT_RQ: (0x1000, 0x1002)}
    instance, type_id = numbers[field_]
    more = element(instance, uid_value(COMMITMENT_INSTANCE)) + element(type_id, b"\x01\0")
    command = command_set(
        field_,
        message_id=number,
        sop_class=COMMITMENT,
        data_set=0x0101 if data_set is None else WITH_DATA_SET,
        more=more,
    )
    if field_ == N_ACTION_RQ:  # Requested SOP Class UID (0000,0003)
        command = command.replace(b"\0\0\x02\0\x14", b"\0\0\x03\0\x14", 1)
    peer.send(p_data(pdv(1, COMMAND | LAST, command)))
    if data_set is not None:
        half = len(data_set) // 2
        peer.send(p_data(pdv(1, DATA, data_set[:half]), pdv(1, DATA | LAST, data_set[half:])))


@pytest.mark.parametrize("field_", [N_ACTION_RQ, N_EVENT_REPORT_RQ])
def test_a_service_gets_the_request_decoded_and_its_answer_goes_out(
    serving: Running, service: Commitment, field_: int
) -> None:
    done: list[str] = []
    service.reply = ServiceAnswer(0x0107, dataset=_transaction(), after=lambda: done.append("x"))
    content = encode(_transaction(), False, True)
    with RawPeer(serving.port) as peer:
        peer.associate(associate_request(COMMITMENT_CONTEXTS))
        _send(peer, 7, field_, content)
        reply = peer.reply()

        assert (reply.message_id, reply.status) == (7, 0x0107)
        assert reply.command[0x0100] == struct.pack("<H", field_ | 0x8000)
        assert reply.command[0x0002] == uid_value(COMMITMENT)
        assert reply.command[0x1000] == uid_value(COMMITMENT_INSTANCE)
        assert reply.data_set == content
        wait_until(lambda: done, what="what is done after the answer")

    (request,) = service.requests
    assert request.dataset == _transaction()
    assert request.caller.calling_ae_title == "PACS"
    assert request.message.MessageID == 7


@pytest.mark.parametrize(
    ("reply", "content", "status"),
    [
        (ServiceAnswer(-1), encode(_transaction(), False, True), PROCESSING_FAILURE),
        (ServiceAnswer(0), b"\x08\0\x05\0CS\xff", INVALID_ARGUMENT),
        (ServiceAnswer(0), b"\x08\0\x99\x11SQ\0\0\xff\xff\xff\xff" * 3000, INVALID_ARGUMENT),
        (ServiceAnswer(0), bytes(17 << 20), RESOURCE_LIMITATION),
    ],
    ids=["service_raises", "cut", "nested", "too_large"],
)
def test_a_request_that_fails_costs_itself_only(
    serving: Running, service: Commitment, reply: ServiceAnswer, content: bytes, status: int
) -> None:
    service.reply = reply
    with RawPeer(serving.port) as peer:
        peer.associate(associate_request(COMMITMENT_CONTEXTS))
        more = element(0x1001, uid_value(COMMITMENT_INSTANCE)) + element(0x1008, b"\x01\0")
        command = command_set(
            N_ACTION_RQ, sop_class=COMMITMENT, data_set=WITH_DATA_SET, more=more
        ).replace(b"\0\0\x02\0\x14", b"\0\0\x03\0\x14", 1)
        peer.send(p_data(pdv(1, COMMAND | LAST, command)))
        for at in range(0, len(content), 100_000):
            part = content[at : at + 100_000]
            last = LAST if at + 100_000 >= len(content) else 0
            peer.send(p_data(pdv(1, DATA | last, part)))
        assert peer.reply().status == status

        service.reply = ServiceAnswer(0)
        _send(peer, 2, N_ACTION_RQ, encode(_transaction(), False, True))
        assert peer.reply().status == 0


def test_two_services_of_one_sop_class_are_a_mistake(start_listener: StartListener) -> None:
    with pytest.raises(ValueError, match="served twice"):
        start_listener(services=(Commitment(), Commitment()))
