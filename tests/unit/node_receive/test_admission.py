from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import ReceiveSettings, SenderSettings
from node.receive.admission import Caller, Rejection, rejection

RECEIVE = ReceiveSettings(
    senders=(
        SenderSettings(ae_title="PACS", addresses=(ip_network("10.1.0.0/16"),)),
        SenderSettings(ae_title="PACS", addresses=(ip_network("fd00::/8"),)),
        SenderSettings(ae_title="CT1"),
    )
)


def _reason(
    calling: str = "PACS",
    address: str = "10.1.2.3",
    called: str = "RADNODE",
    *,
    receive: ReceiveSettings = RECEIVE,
    disk_is_low: bool = False,
) -> Rejection | None:
    caller = Caller(calling, called, address)
    return rejection(caller, receive, "RADNODE", disk_is_low=disk_is_low)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7", "fd00::7%eth0"])
def test_any_entry_of_a_sender_may_cover_its_address(address: str) -> None:
    assert _reason(address=address) is None


@pytest.mark.parametrize("address", ["10.2.2.3", "::ffff:10.2.2.3", "fe80::7"])
def test_another_address_is_not_allowed(address: str) -> None:
    assert _reason(address=address) is Rejection.ADDRESS_NOT_ALLOWED


def test_a_sender_without_addresses_may_call_from_anywhere() -> None:
    assert _reason("CT1", "8.8.8.8") is None


@given(calling=st.text(max_size=16), address=st.ip_addresses())
def test_nobody_is_admitted_by_default(calling: str, address: object) -> None:
    reason = _reason(calling, str(address), receive=ReceiveSettings())

    assert reason is Rejection.CALLING_AE_TITLE_NOT_RECOGNISED


def test_addresses_hold_also_where_anyone_may_send() -> None:
    receive = RECEIVE.model_copy(update={"allow_any_sender": True})

    assert _reason("NEW", receive=receive) is None
    assert _reason(address="8.8.8.8", receive=receive) is Rejection.ADDRESS_NOT_ALLOWED


def test_a_wrong_called_title_may_be_let_pass() -> None:
    lenient = RECEIVE.model_copy(update={"require_called_ae_title": False})

    assert _reason(called="OTHER") is Rejection.CALLED_AE_TITLE_NOT_RECOGNISED
    assert _reason(called="OTHER", receive=lenient) is None


def test_a_stranger_learns_nothing_of_the_disk() -> None:
    assert _reason(disk_is_low=True) is Rejection.DISK_LOW
    assert _reason("STRANGER", disk_is_low=True) is Rejection.CALLING_AE_TITLE_NOT_RECOGNISED


def test_only_what_may_pass_by_itself_is_rejected_as_transient() -> None:
    transient = {reason for reason in Rejection if reason.primitive[0] == 2}

    assert transient == {
        Rejection.DISK_LOW,
        Rejection.TOO_MANY_ASSOCIATIONS,
        Rejection.TOO_MANY_OF_SENDER,
    }
