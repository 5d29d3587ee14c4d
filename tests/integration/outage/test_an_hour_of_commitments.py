"""A PACS loses, delays and refuses its commitments; in the end all is there once, and confirmed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from storage.database import Database
from tests.integration.node_receive.running_listener import CALLED
from tests.integration.outage.archive import AE_TITLE, Archive
from tests.integration.outage.hospital_with_pacs import Hospital, db, pacs_at
from tests.peers.gateway import WELL, Gateway, Mood
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port

P_DATA = b"\x04"


__all__ = ["db"]


@pytest.mark.peer("orthanc")
def test_a_pacs_that_is_away_forgets_and_is_not_heard_has_everything_once(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Orthanc reports on associations of its own.
    monkeypatch.setattr("node.commitment_round.SAME_ASSOCIATION_S", 0.0)
    port = free_port()
    with (
        Orthanc([Modality("radnode", CALLED, port)]) as orthanc,
        Gateway(orthanc.dicom_port) as line,
    ):
        hospital = Hospital(db, tmp_path, pacs_at(line.port, orthanc.aet), port)
        studies = [hospital.node.add_job(1)]
        line.is_open = False
        hospital.pass_time(10)
        assert hospital.node.reasons("pacs") == {"no_association"}

        # Its report finds nobody here, and when C-FIND is to tell, the PACS is away again.
        line.is_open = True
        hospital.pass_time(8)
        assert (hospital.states, hospital.unconfirmed) == (["sent"], ["awaited"])
        line.mood = Mood(is_silent=True)
        hospital.pass_time(12)
        assert (hospital.states, hospital.unconfirmed) == (["sent"], ["no_report"])
        line.mood = WELL
        hospital.pass_time(8)
        assert hospital.states == ["confirmed"]

        with hospital.listening():
            # What it lost by the time that it is asked is sent again, and asked for again.
            studies.append(hospital.node.add_job(2))
            hospital.node.tick()
            _lose_one(orthanc, studies[1])
            hospital.ask()
            hospital.becomes("confirmed", "pending")
            assert "commitment_failed" in hospital.node.reasons("pacs")
            hospital.node.run_until(hospital.node.time.minutes + 2)
            hospital.ask()
            hospital.becomes("confirmed", "confirmed")

            # Its answer to the request is lost on the line, and its report is not.
            studies.append(hospital.node.add_job(3))
            hospital.node.tick()
            line.mood = Mood(loses=lambda _, answer: answer[:1] == P_DATA)
            hospital.ask()
            hospital.becomes("confirmed", "confirmed", "confirmed")

        there = [sorted(each["Modality"] for each in orthanc.instances(uid)) for uid in studies]
    assert there == [["SEG", "SR"]] * 3
    assert hospital.proofs == ["found", "commitment", "commitment"]


def _lose_one(orthanc: Orthanc, study: str) -> None:
    instance, _ = orthanc.instances(study)
    orthanc.delete_instance(str(instance["ID"]))


def test_an_archive_that_reports_at_once_late_or_of_a_loss_has_everything_once(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Archive() as archive:
        hospital = Hospital(db, tmp_path, pacs_at(archive.port, AE_TITLE), free_port())
        archive.is_prompt = True
        hospital.node.add_job(1)
        hospital.node.tick()
        hospital.ask()
        assert hospital.states == ["confirmed"]

        hospital.node.add_job(2)
        hospital.node.tick()
        lost = archive.lose_one()
        hospital.ask()
        assert hospital.states == ["confirmed", "pending"]
        hospital.pass_time(2)
        assert hospital.states == ["confirmed", "confirmed"]
        assert lost in archive.stored

        # It serves no C-FIND: without its report nobody can say.
        archive.is_prompt = False
        monkeypatch.setattr("node.commitment_round.SAME_ASSOCIATION_S", 0.0)
        hospital.node.add_job(3)
        hospital.node.tick()
        hospital.pass_time(12)
        hospital.node.time.now += timedelta(hours=1)
        assert hospital.states == ["confirmed", "confirmed", "sent"]
        assert hospital.unconfirmed[2] == "no_report"
        with hospital.listening() as port:
            assert archive.report(archive.requests[-1], port, CALLED) == 0x0000
            # What comes a second time changes nothing.
            assert archive.report(archive.requests[-1], port, CALLED) == 0x0000

    assert hospital.states == ["confirmed"] * 3
    assert hospital.proofs == ["commitment"] * 3
    assert len(archive.stored) == 6
    transactions = [str(each.TransactionUID) for each in archive.requests]
    assert len(set(transactions)) == len(transactions) == 4
