"""What docs/conformance.md says of negotiation is what a running node does."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom._uid_dict import UID_dictionary

from config.settings import ReceiveSettings
from tests.acceptance.radnode_process import RadnodeProcess
from tests.peers.raw_scu import (
    IMPLICIT_LITTLE_ENDIAN,
    Ended,
    Proposal,
    RawAssociation,
    user_item,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
CT_ITEM = struct.pack(">H", len(CT)) + CT.encode()
MAXIMUM_LENGTH, CLASS_UID, ASYNCHRONOUS, ROLES, VERSION_NAME, EXTENDED, COMMON, IDENTITY = (
    *range(0x51, 0x59),
)
OURS = {MAXIMUM_LENGTH, CLASS_UID, VERSION_NAME}
MOST_CONTEXTS = 128
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadnodeProcess]:
    folder = tmp_path_factory.mktemp("negotiation")
    settings = {
        "node": {"data_dir": str(folder / "data")},
        "storage": {"disk_low_mib": 16},
        "receive": {"port": 0, "senders": [{"ae_title": "PACS"}]},
        "worker": {"enabled": False},
    }
    with RadnodeProcess(folder, settings) as running:
        yield running


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(user_item(ASYNCHRONOUS, struct.pack(">HH", 8, 8)), id="window"),
        pytest.param(user_item(EXTENDED, CT_ITEM + b"\x02\0\0\0\0\0"), id="extended"),
        pytest.param(user_item(IDENTITY, b"\x01\x01\0\x04user\0\0"), id="identity"),
    ],
)
def test_what_is_not_negotiated_is_not_answered_and_does_no_harm(
    node: RadnodeProcess, item: bytes
) -> None:
    with RawAssociation(node.port, [Proposal(CT)], user_items=item) as association:
        assert association.accepted == {0: "1.2.840.10008.1.2.1"}
        assert set(association.answered_items) == OURS


def test_the_answer_names_the_maximum_length_and_the_implementation_of_the_page(
    node: RadnodeProcess,
) -> None:
    page = PAGE.read_text(encoding="utf-8")

    with RawAssociation(node.port, [Proposal(CT)]) as association:
        items = association.answered_items

    (length,) = struct.unpack(">L", items[MAXIMUM_LENGTH])
    assert length == ReceiveSettings().max_pdu_bytes
    assert f"`{items[CLASS_UID].decode()}`" in page
    assert f"`{items[VERSION_NAME].decode()}`" in page


def test_nobody_becomes_the_provider_of_storage(node: RadnodeProcess) -> None:
    roles = user_item(ROLES, CT_ITEM + b"\x01\x01")

    with RawAssociation(node.port, [Proposal(CT)], user_items=roles) as association:
        answered = association.answered_items.get(ROLES, CT_ITEM + b"\x01\0")

    assert answered == CT_ITEM + b"\x01\0"


@pytest.mark.parametrize(
    ("titles", "reason"), [({"called": "OTHER"}, 7), ({"calling": "STRANGER"}, 3)]
)
def test_a_wrong_title_is_rejected_with_the_stated_reason(
    node: RadnodeProcess, titles: dict[str, str], reason: int
) -> None:
    called, calling = titles.get("called", "RADNODE"), titles.get("calling", "PACS")
    context = [Proposal(CT)]

    with (
        pytest.raises(Ended, match=f"result 1, source 1, reason {reason}$"),
        RawAssociation(node.port, context, called=called, calling=calling),
    ):
        pass


def test_the_accepted_sop_classes_are_those_of_the_page(node: RadnodeProcess) -> None:
    page = PAGE.read_text(encoding="utf-8").partition("### As a service class user")[0]
    known = [uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"]
    accepted = set()
    for start in range(0, len(known), MOST_CONTEXTS):
        batch = known[start : start + MOST_CONTEXTS]
        proposals = [Proposal(uid, (IMPLICIT_LITTLE_ENDIAN,)) for uid in batch]
        with RawAssociation(node.port, proposals) as association:
            accepted |= {batch[number] for number in association.accepted}

    assert accepted == {uid for uid in known if f"`{uid}`" in page}
    assert len(accepted) > 150
