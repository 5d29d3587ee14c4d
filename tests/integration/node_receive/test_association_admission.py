from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from config.settings import SenderSettings, StorageSettings
from node.errors import TransientDelivery
from node.send import send_folder
from storage.audit import list_audit
from tests.integration.node_receive.mr_study import mr_instance, write
from tests.integration.node_receive.running_listener import (
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association, rejection_of, request
from tests.peers.ports import wait_until

PERMANENT, TRANSIENT = 1, 2
SERVICE_USER, PRESENTATION = 1, 3


def _audited_reason(running: Running) -> str:
    (entry,) = wait_until(lambda: list_audit(running.db, 10), what="an audit entry")
    assert entry.event == "association_rejected"
    assert entry.outcome == "failure"
    assert entry.detail["address"] == "127.0.0.1"
    return entry.detail["reason"]


def test_an_unknown_sender_is_rejected_for_good_and_audited(running: Running) -> None:
    assoc = request(running.port, calling="STRANGER")

    assert rejection_of(assoc) == (PERMANENT, SERVICE_USER, 3)
    assert _audited_reason(running) == "calling_ae_title_not_recognised"


def test_a_caller_that_means_somebody_else_is_rejected(running: Running) -> None:
    assoc = request(running.port, called="OTHER")

    assert rejection_of(assoc) == (PERMANENT, SERVICE_USER, 7)
    assert _audited_reason(running) == "called_ae_title_not_recognised"


def test_a_known_title_from_another_network_is_rejected(start_listener: StartListener) -> None:
    elsewhere = SenderSettings(ae_title=CALLING, addresses=(ip_network("10.0.0.0/8"),))
    running = start_listener(receive_settings(senders=(elsewhere,)))

    assert rejection_of(request(running.port)) == (PERMANENT, SERVICE_USER, 3)
    assert _audited_reason(running) == "address_not_allowed"


def test_a_known_title_from_its_own_network_is_accepted(start_listener: StartListener) -> None:
    here = SenderSettings(ae_title=CALLING, addresses=(ip_network("127.0.0.0/8"),))
    running = start_listener(receive_settings(senders=(here,)))

    with association(running.port) as assoc:
        assert assoc.is_established


def test_anyone_may_send_where_that_is_allowed(start_listener: StartListener) -> None:
    running = start_listener(receive_settings(senders=(), allow_any_sender=True))

    with association(running.port, calling="ANYONE") as assoc:
        assert assoc.is_established


def test_a_full_disk_rejects_for_now(start_listener: StartListener, tmp_path: Path) -> None:
    settings = receive_settings()
    more_than_any_disk = StorageSettings(disk_low_mib=1 << 40)
    running = start_listener(settings.model_copy(update={"storage": more_than_any_disk}))

    assert rejection_of(request(running.port)) == (TRANSIENT, PRESENTATION, 1)
    assert _audited_reason(running) == "disk_low"
    write(mr_instance(), tmp_path / "study")
    with pytest.raises(TransientDelivery, match="for now: it is busy, or short of room"):
        send_folder(tmp_path / "study", "127.0.0.1", running.port, "RADNODE", "PACS")


def test_one_association_too_many_is_rejected_for_now(start_listener: StartListener) -> None:
    running = start_listener(receive_settings(max_associations=1))

    with association(running.port):
        assert rejection_of(request(running.port)) == (TRANSIENT, PRESENTATION, 2)
    assert _audited_reason(running) == "too_many_associations"


@pytest.mark.peer("dcmtk")
def test_an_echo_by_a_stranger_is_not_answered(running: Running) -> None:
    from tests.peers.dcmtk import echoscu

    assert echoscu(running.port, calling="STRANGER", called="RADNODE").returncode != 0
