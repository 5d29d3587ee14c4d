"""A PACS is asked whether it keeps what it took, and its reports come back."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom import AE

from config.settings import RetrySettings
from node.commitment_result import CommitmentResult
from node.commitment_results import CommitmentResults
from node.confirmation import Confirmation
from storage.confirmations import delivery_of_transaction
from storage.deliveries import settle_sent
from storage.delivery_reads import get_delivery, list_deliveries
from storage.jobs import finish_job
from storage.overview import study_rows
from storage.records import DeliveryState
from tests.integration.node_receive.committing_node import (
    UIDS,
    Node,
    commitment_port,
    destination_at,
    node,
)
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_series
from tests.integration.node_receive.running_listener import CALLED, CALLING
from tests.integration.node_receive.slow_archive import SlowArchive
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

__all__ = ["commitment_port", "node"]


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
    destination = destination_at(port, **changes)
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


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.commitment_round.SAME_ASSOCIATION_S", 0.0)


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
def test_a_pacs_that_calls_every_transaction_a_duplicate_is_asked_ever_more_rarely(
    node: Node,
) -> None:
    _sent_delivery(node)
    with SlowArchive() as archive:
        retry = RetrySettings(first_s=600, longest_s=600)
        settings = node.settings.model_copy(
            update={"destinations": (destination_at(archive.port, retry=retry),)}
        )
        results = CommitmentResults(settings, node.db, worker_id=WORKER)
        confirmation = _confirmation(node, archive.port)
        for _ in range(2):
            assert confirmation.ask_next()
            uid = str(archive.requests[-1].TransactionUID)
            results.take(CommitmentResult(uid, frozenset(), dict.fromkeys(UIDS, 0x0131)))
        assert not confirmation.ask_next()
        assert len(archive.requests) == 2


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
