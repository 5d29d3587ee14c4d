from __future__ import annotations

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import (
    AllStoragePresentationContexts,
    build_context,
    negotiate_as_acceptor,
)

from node.receive.services import VerificationService, by_sop_class
from node.receive.transfer_syntaxes import (
    ACCEPTED_TRANSFER_SYNTAXES,
    supported_contexts,
)

VERIFICATION = "1.2.840.10008.1.1"
SERVICES = by_sop_class((VerificationService(),))
CT = "1.2.840.10008.5.1.4.1.1.2"
JPIP_REFERENCED = "1.2.840.10008.1.2.4.94"
MPEG2 = "1.2.840.10008.1.2.4.100"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
INVENTORY_FIND = "1.2.840.10008.5.1.4.1.1.201.2"


def _accepted(sop_class: str, *syntaxes: str) -> str | None:
    """The transfer syntax that is chosen of those proposed in one context."""
    proposal = build_context(sop_class, list(syntaxes))
    proposal.context_id = 1
    (answer,), _ = negotiate_as_acceptor([proposal], supported_contexts([sop_class], SERVICES))
    return str(answer.transfer_syntax[0]) if answer.result == 0 else None


@pytest.mark.parametrize("syntax", ACCEPTED_TRANSFER_SYNTAXES)
def test_every_listed_transfer_syntax_is_accepted_alone(syntax: str) -> None:
    assert _accepted(CT, syntax) == syntax


def test_explicit_little_endian_is_chosen_when_it_is_offered() -> None:
    assert _accepted(CT, ImplicitVRLittleEndian, ExplicitVRLittleEndian) == ExplicitVRLittleEndian


@pytest.mark.parametrize("syntax", [JPIP_REFERENCED, MPEG2, "1.2.3.4"])
def test_what_nobody_here_decodes_is_refused_at_negotiation(syntax: str) -> None:
    assert _accepted(CT, syntax) is None


def test_every_storage_sop_class_is_accepted() -> None:
    known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]

    assert len(known) >= 170
    assert [
        str(context.abstract_syntax) for context in supported_contexts(known, SERVICES)
    ] == known


@pytest.mark.parametrize("uid", ["1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.12.3"])
def test_private_and_retired_storage_is_accepted(uid: str) -> None:
    assert _accepted(uid, ExplicitVRLittleEndian) == ExplicitVRLittleEndian


def test_who_proposes_thousands_of_private_classes_takes_none_from_others() -> None:
    for number in range(2000):
        supported_contexts([f"1.2.3.{number}"], SERVICES)

    assert _accepted("1.3.12.2.1107.5.9.2", ExplicitVRLittleEndian) == ExplicitVRLittleEndian


@pytest.mark.parametrize("uid", [STUDY_ROOT_FIND, INVENTORY_FIND, "1.2.840.10008.1.20.1", "1..2"])
def test_other_services_are_not(uid: str) -> None:
    assert supported_contexts([uid], SERVICES) == []


def test_verification_is_accepted() -> None:
    assert _accepted(VERIFICATION, ImplicitVRLittleEndian) == ImplicitVRLittleEndian
