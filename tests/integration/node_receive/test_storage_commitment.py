"""Storage commitment with real counterparts, in both roles and in both directions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from config.settings import RetrySettings, SenderSettings
from node.commitment_association import Peer, requesting_commitments
from node.commitment_reports import CommitmentReports
from node.commitment_result import CommitmentResult, read_result
from node.errors import CommitmentUnavailable
from node.receive.commitment_service import CommitmentService
from node.receive.listener import Listener
from storage.commitment_reports import due_commitments
from storage.studies import open_studies
from tests.integration.node_receive.committing_node import UIDS, Node, commitment_port, node
from tests.integration.node_receive.mr_study import SERIES, mr_series
from tests.integration.node_receive.running_listener import CALLED, CALLING, receive_settings
from tests.integration.node_receive.sender import association, store
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port, wait_until
from tests.peers.scp import start_scp

__all__ = ["commitment_port", "node"]


@dataclass
class CommittingPeer:
    """An application that asks us for commitment, and is reported to."""

    port: int = field(default_factory=free_port)
    reports: list[Dataset] = field(default_factory=list)
    status: int = 0x0000

    def __enter__(self) -> CommittingPeer:
        ae = AE(ae_title=CALLING)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._take)]
        self._server: Any = start_scp(ae, ("127.0.0.1", self.port), handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ae.shutdown()

    def _take(self, event: Any) -> tuple[int, None]:
        self.reports.append(event.event_information)
        return self.status, None

    def result(self) -> CommitmentResult:
        (report,) = self.reports
        return read_result(report)


def _send(node: Node, folder: Path, count: int) -> None:
    with association(node.port) as assoc:
        assert set(store(assoc, *mr_series(folder, count))) == {0}


def _ask(node: Node, *uids: str, transaction: str = "1.9.7") -> None:
    peer = Peer("127.0.0.1", node.port, CALLED, CALLING, timeout_s=10)
    with requesting_commitments(peer, lambda _: None) as requests:
        requests.ask(transaction, dict.fromkeys(uids, str(MRImageStorage)))


def _reports(node: Node) -> CommitmentReports:
    return CommitmentReports(node.settings, node.db, node.files)


def _is_settled(node: Node) -> bool:
    return due_commitments(node.db, now=datetime.max.replace(tzinfo=UTC)) == ()


def test_a_sender_is_told_that_its_instances_are_safe(
    node: Node, tmp_path: Path, commitment_port: int
) -> None:
    _send(node, tmp_path, 2)
    with CommittingPeer(commitment_port) as peer:
        _ask(node, *UIDS)
        assert _reports(node).report_due()

        assert peer.result() == CommitmentResult("1.9.7", frozenset(UIDS), {})
        assert not _reports(node).report_due()
    assert _is_settled(node)
    assert node.lists == ["list"]
    (progress,) = open_studies(node.db)
    assert progress.lists.is_proof


def test_what_is_not_here_or_not_whole_is_told_with_its_reason(
    node: Node, tmp_path: Path, commitment_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.commitment_reports._LATECOMERS", -datetime.resolution)
    _send(node, tmp_path, 2)
    damaged = next((node.files.data_dir / "instances").rglob("*.dcm"))
    damaged.write_bytes(b"")
    with CommittingPeer(commitment_port) as peer:
        _ask(node, *UIDS, f"{SERIES}.3")
        _reports(node).report_due()
        result = peer.result()

    assert len(result.kept) == 1
    assert sorted(result.failed.values()) == [0x0110, 0x0112]
    assert result.failed[f"{SERIES}.3"] == 0x0112


def test_a_request_that_overtakes_its_instances_waits_for_them(
    node: Node, tmp_path: Path, commitment_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.commitment_reports._LOOK_AGAIN", datetime.resolution)
    with CommittingPeer(commitment_port) as peer:
        _ask(node, *UIDS)
        _reports(node).report_due()
        assert peer.reports == []
        _send(node, tmp_path, 2)
        _reports(node).report_due()

        assert peer.result().kept == set(UIDS)


def test_another_list_under_a_known_transaction_uid_fails_as_duplicate(
    node: Node, tmp_path: Path, commitment_port: int
) -> None:
    _send(node, tmp_path, 2)
    with CommittingPeer(commitment_port) as peer:
        _ask(node, UIDS[0])
        _reports(node).report_due()
        peer.reports.clear()
        _ask(node, *UIDS)
        _reports(node).report_due()

        assert peer.result().failed == dict.fromkeys(UIDS, 0x0131)


def test_a_sender_that_is_away_is_told_later_also_after_a_restart(
    node: Node, tmp_path: Path, commitment_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = RetrySettings(first_s=0.001, longest_s=0.001)
    monkeypatch.setattr("node.commitment_reports._RETRY", at_once)
    _send(node, tmp_path, 2)
    _ask(node, *UIDS)
    _reports(node).report_due()
    restarted = _reports(node)
    with CommittingPeer(commitment_port) as peer:
        wait_until(restarted.report_due, what="the second try")

        assert _is_settled(node)
        assert peer.result().kept == set(UIDS)


def test_a_sender_without_an_address_is_refused_and_its_list_counts(
    node: Node, tmp_path: Path
) -> None:
    sender = SenderSettings(ae_title=CALLING)
    service = CommitmentService(node.db, lambda: None, lambda _: None, lambda _: False)
    settings = receive_settings(senders=(sender,))
    listener = Listener(settings, node.db, node.files, lambda: None, services=(service,))
    peer = Peer("127.0.0.1", listener.start(), CALLED, CALLING, timeout_s=10)
    _send(node, tmp_path, 2)

    with (
        requesting_commitments(peer, lambda _: None) as requests,
        pytest.raises(CommitmentUnavailable, match="0x0110"),
    ):
        requests.ask("1.9.7", dict.fromkeys(UIDS, str(MRImageStorage)))

    listener.stop()
    (progress,) = open_studies(node.db)
    assert progress.lists.is_proof
    assert not _reports(node).report_due()


@pytest.mark.peer("orthanc")
def test_orthanc_asks_us_and_gets_its_report(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.commitment_reports._LATECOMERS", timedelta(seconds=1))
    monkeypatch.setattr("node.commitment_reports._LOOK_AGAIN", timedelta(seconds=0.2))
    with Orthanc([Modality("radnode", CALLED, node.port)], aet=CALLING) as orthanc:
        sender = node.settings.receive.senders[0].model_copy(
            update={"commitment_port": orthanc.dicom_port}
        )
        receive = node.settings.receive.model_copy(update={"senders": (sender,)})
        node.settings = node.settings.model_copy(update={"receive": receive})
        _send(node, tmp_path, 2)
        wanted = [[str(MRImageStorage), uid] for uid in (*UIDS, f"{SERIES}.9")]

        asked = httpx.post(
            f"{orthanc.http_url}/modalities/radnode/storage-commitment",
            json={"DicomInstances": wanted},
            timeout=30,
        )
        asked.raise_for_status()
        node_reports = _reports(node)
        report = _orthanc_report(orthanc, asked.json()["ID"], node_reports)

    assert {each["SOPInstanceUID"] for each in report["Success"]} == set(UIDS)
    (failure,) = report["Failures"]
    assert (failure["SOPInstanceUID"], failure["FailureReason"]) == (f"{SERIES}.9", 0x0112)


def _orthanc_report(orthanc: Orthanc, number: str, reports: CommitmentReports) -> Any:
    def report() -> Any:
        reports.report_due()
        answer = httpx.get(f"{orthanc.http_url}/storage-commitment/{number}", timeout=30).json()
        return answer if answer["Status"] != "Pending" else None

    return wait_until(report, what="Orthanc's storage commitment report", timeout_s=60)
