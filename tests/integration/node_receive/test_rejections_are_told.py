"""Whoever rejects us is told apart from whoever is down, however late we come to look."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import SegmentationStorage
from pynetdicom.acse import ACSE

from config.settings import DicomDestination
from config.tls_settings import ClientTls
from node.commitment_association import Peer, requesting_commitments
from node.errors import NodeError
from node.find_scu import find_association
from node.object_negotiation import accepted_encodings
from node.scu import store_objects
from node.send import send_folder
from storage.records import ObjectKind
from tests.integration.node_receive.mr_study import mr_instance, write
from tests.integration.node_receive.result_files import result_files
from tests.peers.ports import wait_until
from tests.peers.rejecting import RejectingPeer


@pytest.fixture
def peer() -> RejectingPeer:
    return RejectingPeer()


@pytest.fixture
def late_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is busy: answer and end of the connection are there before we look."""
    send_request = ACSE.send_request

    def and_sleep(acse: ACSE) -> None:
        send_request(acse)
        connection = acse.socket
        wait_until(lambda: connection._ready.is_set() and not connection._is_connected, what="end")
        time.sleep(0.01)

    monkeypatch.setattr(ACSE, "send_request", and_sleep)


def _destination(port: int) -> DicomDestination:
    return DicomDestination.model_validate(
        {
            "type": "dicom",
            "name": "pacs",
            "host": "127.0.0.1",
            "port": port,
            "ae_title": "PACS",
            "timeout_s": 10,
            "segmentation": "labelmap",
        }
    )


def _store(port: int, folder: Path) -> None:
    store_objects(_destination(port), "RADNODE", result_files(folder))


def _negotiate(port: int, folder: Path) -> None:
    accepted_encodings(_destination(port), "RADNODE", {ObjectKind.SEG: SegmentationStorage})


def _send(port: int, folder: Path) -> None:
    write(mr_instance(), folder)
    send_folder(folder, "127.0.0.1", port, "PACS", "RADNODE")


def _find(port: int, folder: Path) -> None:
    titles = {"called_ae_title": "PACS", "calling_ae_title": "RADNODE"}
    with find_association("127.0.0.1", port, timeout_s=10, tls=ClientTls(), **titles):
        pass


def _commit(port: int, folder: Path) -> None:
    peer = Peer("127.0.0.1", port, "PACS", "RADNODE", timeout_s=10)
    with requesting_commitments(peer, lambda _: None):
        pass


ASKING = {
    "C-STORE": _store,
    "negotiation": _negotiate,
    "send": _send,
    "C-FIND": _find,
    "commitment": _commit,
}


@pytest.mark.usefixtures("late_look")
@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_rejection_is_told_as_one_also_where_pynetdicom_calls_it_an_abort(
    peer: RejectingPeer, ask: Callable[[int, Path], None], tmp_path: Path
) -> None:
    with peer, pytest.raises(NodeError, match="rejected the association"):
        ask(peer.port, tmp_path)
