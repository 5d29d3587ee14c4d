"""After an outage many deliveries are confirmed soon, whichever way their PACS reports."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from node.commitment_result import CommitmentResult
from node.commitment_results import CommitmentResults
from node.commitment_round import SAME_ASSOCIATION_S
from storage.database import Database
from storage.errors import DatabaseUnavailable
from tests.integration.node_receive.running_listener import CALLED
from tests.integration.outage.archive import AE_TITLE, Archive
from tests.integration.outage.hospital_with_pacs import Hospital, db, pacs_at
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port

__all__ = ["db"]

COUNT = 4
CONFIRMED = ["confirmed"] * COUNT


def _hospital(db: Database, folder: Path, pacs_port: int, title: str, port: int = 0) -> Hospital:
    """A node whose results were sent, and that has asked about none of them."""
    hospital = Hospital(db, folder, pacs_at(pacs_port, title), port or free_port())
    for number in range(1, COUNT + 1):
        hospital.node.add_job(number)
    hospital.node.tick()
    assert hospital.states == ["sent"] * COUNT
    return hospital


def _asking_takes_s(hospital: Hospital) -> float:
    began = time.monotonic()
    hospital.ask()
    return time.monotonic() - began


@pytest.mark.peer("orthanc")
def test_orthanc_confirms_many_deliveries_without_a_wait(db: Database, tmp_path: Path) -> None:
    port = free_port()
    with Orthanc([Modality("radnode", CALLED, port)]) as orthanc:
        hospital = _hospital(db, tmp_path, orthanc.dicom_port, orthanc.aet, port)
        with hospital.listening():
            assert _asking_takes_s(hospital) < SAME_ASSOCIATION_S
            assert hospital.states == CONFIRMED
    assert hospital.proofs == ["commitment"] * COUNT


def test_reports_on_associations_of_the_pacs_end_the_wait_for_others(
    db: Database, tmp_path: Path
) -> None:
    with Archive() as archive:
        hospital = _hospital(db, tmp_path, archive.port, AE_TITLE)
        with hospital.listening() as port:
            archive.reports_to = (port, CALLED)
            assert _asking_takes_s(hospital) < SAME_ASSOCIATION_S
            assert hospital.states == CONFIRMED
    assert len(archive.asked_on) == COUNT
    assert len(set(archive.asked_on)) == 1


def test_reports_on_the_same_association_confirm_many(db: Database, tmp_path: Path) -> None:
    with Archive(is_prompt=True) as archive:
        hospital = _hospital(db, tmp_path, archive.port, AE_TITLE)
        assert _asking_takes_s(hospital) < SAME_ASSOCIATION_S
    assert hospital.states == CONFIRMED
    assert len(set(archive.asked_on)) == 1


def test_an_association_is_released_behind_the_answer_to_its_report(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = CommitmentResults.take

    def take_slowly(self: CommitmentResults, result: CommitmentResult) -> None:
        take(self, result)
        time.sleep(0.3)

    monkeypatch.setattr(CommitmentResults, "take", take_slowly)
    with Archive(is_prompt=True) as archive:
        hospital = _hospital(db, tmp_path, archive.port, AE_TITLE)
        hospital.ask()
    assert archive.answers == [0x0000] * COUNT


def test_a_pacs_that_reports_late_is_waited_for_twice_and_not_for_each_delivery(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.commitment_round.SAME_ASSOCIATION_S", 1.0)
    with Archive() as archive:
        hospital = _hospital(db, tmp_path, archive.port, AE_TITLE)
        assert 2.0 < _asking_takes_s(hospital) < COUNT
        assert hospital.unconfirmed == ["awaited"] * COUNT
        with hospital.listening() as port:
            for request in archive.requests:
                assert archive.report(request, port, CALLED) == 0x0000
    assert hospital.states == CONFIRMED
    assert len({str(each.TransactionUID) for each in archive.requests}) == COUNT


def test_a_pacs_that_takes_one_request_an_association_gets_no_more(
    db: Database, tmp_path: Path
) -> None:
    with Archive(is_prompt=True, takes_one=True) as archive:
        hospital = _hospital(db, tmp_path, archive.port, AE_TITLE)
        hospital.ask()
        assert hospital.states == ["confirmed", "sent", "confirmed", "confirmed"]
        hospital.pass_time(2)
    assert hospital.states == CONFIRMED
    assert len(set(archive.asked_on)) == len(archive.asked_on) == COUNT


def test_a_report_that_cannot_be_kept_is_not_taken(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_self: CommitmentResults, _result: CommitmentResult) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr("node.commitment_round.SAME_ASSOCIATION_S", 0.4)
    monkeypatch.setattr(CommitmentResults, "take", lose)
    with Archive(is_prompt=True) as archive:
        hospital = _hospital(db, tmp_path, archive.port, AE_TITLE)
        hospital.ask()
        assert 0x0213 in archive.answers
    assert set(archive.answers) <= {0x0213, -1}
    assert hospital.states == ["sent"] * COUNT
