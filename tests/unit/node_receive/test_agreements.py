from __future__ import annotations

import pytest

from node.receive.agreements import Agreements
from node.receive.negotiation import Agreement, Proposal, read_request
from node.receive.transfer_syntaxes import supported_contexts
from tests.peers.raw_dicom import EXPLICIT, MR_IMAGE, associate_request, context


def _request(**given: bytes) -> bytes:
    return associate_request([context(1, MR_IMAGE, EXPLICIT)], **given)[6:]  # type: ignore[arg-type]


def _agreed(body: bytes) -> Agreement:
    proposal = Proposal(read_request(body))
    supported = supported_contexts(proposal.abstract_syntaxes, {})
    return proposal.agree(supported, max_pdu_bytes=131072)


@pytest.fixture
def agreements() -> Agreements:
    return Agreements()


def test_the_very_same_request_has_the_answer_that_it_had(agreements: Agreements) -> None:
    agreement = _agreed(_request())

    agreements.keep(read_request(_request()), agreement)

    known = agreements.known(read_request(_request()))
    assert known is agreement
    assert known == _agreed(_request())


@pytest.mark.parametrize(
    "other",
    [_request(calling=b"OTHER"), _request(called=b"OTHER"), _request() + bytes(1)],
    ids=["calling", "called", "longer"],
)
def test_a_request_that_differs_in_anything_is_another(
    agreements: Agreements, other: bytes
) -> None:
    agreements.keep(read_request(_request()), _agreed(_request()))

    assert agreements.known(read_request(other)) is None


def test_nothing_is_remembered_of_a_request_of_enormous_size(agreements: Agreements) -> None:
    large = read_request(_request() + bytes(1 << 16))

    agreements.keep(large, _agreed(_request()))

    assert agreements.known(large) is None


def test_who_asks_in_thousand_ways_makes_others_forgotten_not_the_memory_full(
    agreements: Agreements,
) -> None:
    usual, agreement = read_request(_request()), _agreed(_request())
    agreements.keep(usual, agreement)
    strange = [read_request(_request() + number.to_bytes(2, "big")) for number in range(1000)]
    for number, each in enumerate(strange):
        agreements.keep(each, agreement)
        if number < 900:
            assert agreements.known(usual) is agreement

    remembered = [each for each in (usual, *strange) if agreements.known(each)]
    assert 0 < len(remembered) < 100
    assert usual not in remembered
