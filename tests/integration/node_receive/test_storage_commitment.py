"""Storage commitment with real counterparts, in both roles and in both directions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from config.settings import DicomDestination, RetrySettings, SenderSettings, Settings
from node.commitment_association import Peer, ask_commitment
from node.commitment_reports import CommitmentReports, reported_sender
from node.commitment_result import INSTANCE_UID, CommitmentResult, read_result, report_dataset
from node.commitment_results import CommitmentResults
from node.confirmation import Confirmation
from node.dimse_policy import prepare_requestor
from node.errors import CommitmentUnavailable
from node.receive.commitment_service import CommitmentService
from node.receive.listener import Listener
from storage.commitment_reports import due_commitments
from storage.confirmations import delivery_of_transaction
from storage.database import Database
from storage.deliveries import get_delivery, list_deliveries, settle_sent
from storage.evidence_records import ListedSop
from storage.instance_files import InstanceFiles
from storage.jobs import finish_job
from storage.overview import study_rows
from storage.records import DeliveryState
from storage.studies import open_studies
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_series
from tests.integration.node_receive.running_listener import CALLED, CALLING, receive_settings
from tests.integration.node_receive.sender import association, store
from tests.migrated_database import migrated_database
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port, wait_until
from tests.peers.scp import start_scp
from tests.unit.storage.samples import (
    WORKER,
    claim,
    claim_delivery,
    job_result,
    make_job,
    to_destinations,
)

UIDS = (f"{SERIES}.1", f"{SERIES}.2")


@dataclass
class Node:
    """A listener with storage commitment, and what stands behind it."""

    settings: Settings
    db: Database
    files: InstanceFiles
    port: int
    lists: list[str] = field(default_factory=list)


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


@pytest.fixture
def commitment_port() -> int:
    return free_port()


@pytest.fixture
def node(tmp_path: Path, commitment_port: int) -> Iterator[Node]:
    sender = SenderSettings(
        ae_title=CALLING, commitment_host="127.0.0.1", commitment_port=commitment_port
    )
    settings = receive_settings(senders=(sender,), port=free_port())
    settings = settings.model_copy(update={"destinations": (_destination(commitment_port),)})
    db = migrated_database(tmp_path / "radnode.db")
    files = InstanceFiles(tmp_path / "data")
    lists: list[str] = []
    service = CommitmentService(
        db,
        lambda: lists.append("list"),
        CommitmentResults(settings, db, worker_id=WORKER).take,
        lambda ae_title: reported_sender(settings, ae_title) is not None,
    )
    listener = Listener(settings, db, files, lambda: None, services=(service,))
    yield Node(settings, db, files, listener.start(), lists)
    listener.stop()
    db.close()


def _destination(port: int, **changes: object) -> DicomDestination:
    retry = RetrySettings(first_s=0.01, longest_s=0.01)
    destination = DicomDestination(
        type="dicom", name="pacs", host="127.0.0.1", port=port, ae_title=CALLING, retry=retry
    )
    return destination.model_copy(update=changes)


def _send(node: Node, folder: Path, count: int) -> None:
    with association(node.port) as assoc:
        assert set(store(assoc, *mr_series(folder, count))) == {0}


def _ask(node: Node, *uids: str, transaction: str = "1.9.7") -> None:
    peer = Peer("127.0.0.1", node.port, CALLED, CALLING, timeout_s=10)
    objects = dict.fromkeys(uids, str(MRImageStorage))
    assert ask_commitment(peer, transaction, objects, wait_s=0) is None


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

    with pytest.raises(CommitmentUnavailable, match="0x0110"):
        ask_commitment(peer, "1.9.7", dict.fromkeys(UIDS, str(MRImageStorage)), wait_s=0)

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


def _sent_delivery(node: Node) -> int:
    """A delivery of two objects that a PACS has taken; they have the UIDs of `UIDS`."""
    make_job(node.db)
    job = claim(node.db)
    seg, report = job_result("2.25.1").objects
    objects = tuple(
        replace(
            made,
            sop_class_uid=str(MRImageStorage),
            sop_instance_uid=uid,
            series_instance_uid=SERIES,
        )
        for made, uid in zip((seg, report), UIDS, strict=True)
    )
    finish_job(
        node.db,
        job.job_id,
        worker_id=WORKER,
        result=replace(job_result("2.25.1"), objects=objects),
        deliveries=tuple(to_destinations("pacs")),
        now=datetime.now(UTC),
    )
    delivery = claim_delivery(node.db, now=datetime.now(UTC))
    settle_sent(
        node.db,
        delivery.delivery_id,
        worker_id=WORKER,
        confirmed=False,
        receipt=dict.fromkeys(UIDS, "0x0000"),
        now=datetime.now(UTC),
    )
    return delivery.delivery_id


def _confirmation(node: Node, port: int, **changes: object) -> Confirmation:
    destination = _destination(port, **changes)
    settings = node.settings.model_copy(update={"destinations": (destination,)})
    return Confirmation(destination, settings, node.db, worker_id=WORKER)


def _state(node: Node, delivery_id: int) -> DeliveryState:
    return get_delivery(node.db, delivery_id).state


def _unconfirmed(node: Node) -> str:
    (study,) = study_rows(node.db, 10)
    return study.jobs[0].deliveries[0].unconfirmed


@pytest.mark.peer("orthanc")
@pytest.mark.usefixtures("no_wait")
def test_orthanc_confirms_a_delivery_on_an_association_of_its_own(
    node: Node, tmp_path: Path
) -> None:
    with Orthanc([Modality("radnode", CALLED, node.port)], aet=CALLING) as orthanc:
        for path in mr_series(tmp_path, 2):
            orthanc.upload(path)
        delivery_id = _sent_delivery(node)

        assert _confirmation(node, orthanc.dicom_port).ask_next()

        wait_until(
            lambda: _state(node, delivery_id) is DeliveryState.CONFIRMED,
            what="the report of Orthanc",
        )
    assert "commitment" in get_delivery(node.db, delivery_id).receipt
    assert _unconfirmed(node) == ""


@pytest.mark.peer("orthanc")
@pytest.mark.usefixtures("no_wait")
def test_what_orthanc_does_not_keep_is_sent_again(node: Node, tmp_path: Path) -> None:
    with Orthanc([Modality("radnode", CALLED, node.port)], aet=CALLING) as orthanc:
        orthanc.upload(mr_series(tmp_path, 2)[0])
        delivery_id = _sent_delivery(node)

        _confirmation(node, orthanc.dicom_port).ask_next()

        wait_until(
            lambda: _state(node, delivery_id) is DeliveryState.PENDING,
            what="the report of Orthanc",
        )
    delivery = get_delivery(node.db, delivery_id)
    assert delivery.reason_code == "commitment_failed"
    assert "1 of 2 objects: reason 0x0112" in delivery.reason_text


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize(
    ("count", "state"), [(2, DeliveryState.CONFIRMED), (1, DeliveryState.SENT)]
)
def test_orthanc_is_asked_by_c_find_where_that_is_wanted(
    node: Node, tmp_path: Path, count: int, state: DeliveryState
) -> None:
    with Orthanc([Modality("radnode", CALLED, node.port)], aet=CALLING) as orthanc:
        for path in mr_series(tmp_path, count):
            orthanc.upload(path)
        delivery_id = _sent_delivery(node)
        # The job of the sample is about another study than the instances in Orthanc.
        _rename_study(node, STUDY)

        _confirmation(node, orthanc.dicom_port, confirm="find").ask_next()

    assert _state(node, delivery_id) is state
    assert _unconfirmed(node) == ("" if count == 2 else "not_listed")


def _rename_study(node: Node, study_uid: str) -> None:
    path = node.files.data_dir.parent / "radnode.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE study SET study_instance_uid = ?", (study_uid,))
        connection.execute("UPDATE job SET study_instance_uid = ?", (study_uid,))
        connection.execute("UPDATE series SET study_instance_uid = ?", (study_uid,))
        connection.execute("UPDATE completion SET study_instance_uid = ?", (study_uid,))


def _listed() -> list[ListedSop]:
    return [ListedSop(str(MRImageStorage), uid) for uid in UIDS]


@dataclass
class SlowArchive:
    """A PACS that takes a commitment request and reports as it is told, or not at all."""

    port: int = field(default_factory=free_port)
    reports_at_once: bool = False
    requests: list[Dataset] = field(default_factory=list)

    def __enter__(self) -> SlowArchive:
        ae = AE(ae_title=CALLING)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_ACTION, self._take)]
        self._server: Any = start_scp(ae, ("127.0.0.1", self.port), handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ae.shutdown()

    def _take(self, event: Any) -> tuple[int, None]:
        self.requests.append(event.action_information)
        if self.reports_at_once:
            threading.Timer(0.2, self._report_on, (event.assoc,)).start()
        return 0x0000, None

    def _report_on(self, assoc: Any) -> None:
        assoc.send_n_event_report(
            report_dataset(self.requests[-1].TransactionUID, _listed(), {}),
            1,
            StorageCommitmentPushModel,
            INSTANCE_UID,
        )

    def report(self, node: Node, *, failed: dict[str, int] | None = None) -> int:
        """Report on the newest request, as SCP on an association to the node."""
        ae = AE(ae_title=CALLING)
        ae.add_requested_context(StorageCommitmentPushModel)
        assoc = ae.associate(
            "127.0.0.1",
            node.port,
            ae_title=CALLED,
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
        )
        assert assoc.is_established
        dataset = report_dataset(self.requests[-1].TransactionUID, _listed(), failed or {})
        event_type = 2 if failed else 1
        status, _ = assoc.send_n_event_report(
            dataset, event_type, StorageCommitmentPushModel, INSTANCE_UID
        )
        assoc.release()
        return int(status.Status)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.confirmation.SAME_ASSOCIATION_S", 0.0)


def test_a_report_on_the_same_association_is_taken(node: Node) -> None:
    delivery_id = _sent_delivery(node)
    with SlowArchive(reports_at_once=True) as archive:
        _confirmation(node, archive.port).ask_next()

    assert _state(node, delivery_id) is DeliveryState.CONFIRMED


@pytest.mark.usefixtures("no_wait")
def test_a_report_hours_later_finds_its_delivery(node: Node) -> None:
    delivery_id = _sent_delivery(node)
    with SlowArchive() as archive:
        _confirmation(node, archive.port).ask_next()
        assert _unconfirmed(node) == "awaited"
        # Nothing of the request lies in memory: another process takes the report.
        asked = delivery_of_transaction(node.db, archive.requests[0].TransactionUID)
        assert asked is not None
        assert archive.report(node) == 0x0000

    assert _state(node, delivery_id) is DeliveryState.CONFIRMED


@pytest.mark.usefixtures("no_wait")
def test_a_report_is_waited_for_and_then_c_find_is_tried(node: Node) -> None:
    delivery_id = _sent_delivery(node)
    with SlowArchive() as archive:
        confirmation = _confirmation(node, archive.port, confirm_timeout_s=0.01)
        confirmation.ask_next()
        assert confirmation.ask_next() or confirmation.ask_next()
        assert _state(node, delivery_id) is DeliveryState.SENT
        assert _unconfirmed(node) == "no_report"
        assert len(archive.requests) == 1
        # The Transaction UID still stands, so a late report still counts.
        archive.report(node)

    assert _state(node, delivery_id) is DeliveryState.CONFIRMED


@pytest.mark.usefixtures("no_wait")
def test_a_duplicate_transaction_is_asked_under_another_uid(node: Node) -> None:
    delivery_id = _sent_delivery(node)
    with SlowArchive() as archive:
        confirmation = _confirmation(node, archive.port)
        confirmation.ask_next()
        archive.report(node, failed=dict.fromkeys(UIDS, 0x0131))
        assert _state(node, delivery_id) is DeliveryState.SENT
        confirmation.ask_next()
        first, second = (each.TransactionUID for each in archive.requests)

    assert first != second


@pytest.mark.usefixtures("no_wait")
def test_a_report_on_what_nobody_asked_changes_nothing(node: Node) -> None:
    delivery_id = _sent_delivery(node)
    with SlowArchive() as archive:
        _confirmation(node, archive.port).ask_next()
        archive.requests[-1].TransactionUID = "1.9.8"
        assert archive.report(node) == 0x0000

    assert _state(node, delivery_id) is DeliveryState.SENT


def test_a_pacs_that_is_down_is_asked_later(node: Node) -> None:
    delivery_id = _sent_delivery(node)

    _confirmation(node, free_port()).ask_next()

    assert _state(node, delivery_id) is DeliveryState.SENT
    assert _unconfirmed(node) == "no_association"


def test_a_pacs_without_storage_commitment_leaves_it_to_c_find(node: Node) -> None:
    delivery_id = _sent_delivery(node)
    ae = AE(ae_title=CALLING)
    ae.add_supported_context(MRImageStorage)
    port = free_port()
    server = start_scp(ae, ("127.0.0.1", port))

    _confirmation(node, port).ask_next()

    server.ae.shutdown()
    assert _state(node, delivery_id) is DeliveryState.SENT
    assert _unconfirmed(node) == "commitment_unsupported"
    assert [each.delivery_id for each in list_deliveries(node.db)] == [delivery_id]
