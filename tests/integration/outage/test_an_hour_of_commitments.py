"""A PACS loses, delays and refuses its commitments; in the end all is there once, and confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config.settings import DicomDestination, SenderSettings, Settings
from node.commitment_results import CommitmentResults
from node.confirmation import Confirmation
from node.receive.commitment_service import CommitmentService
from node.receive.listener import Listener
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.overview import study_rows
from storage.records import DeliveryRecord
from tests.integration.node_receive.running_listener import CALLED, receive_settings
from tests.integration.outage.archive import AE_TITLE, Archive
from tests.integration.outage.hospital import Deliveries
from tests.migrated_database import migrated_database
from tests.peers.gateway import WELL, Gateway, Mood
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port, wait_until
from tests.unit.storage.samples import WORKER

P_DATA = b"\x04"


class Hospital:
    """A node with one PACS: what goes there, and the listener that takes the reports."""

    def __init__(self, db: Database, folder: Path, pacs: DicomDestination, port: int) -> None:
        senders = (SenderSettings(ae_title=pacs.ae_title),)
        settings = receive_settings(senders=senders, port=port)
        self.settings: Settings = settings.model_copy(update={"destinations": (pacs,)})
        self.files = InstanceFiles(folder / "data")
        self.node = Deliveries(db, self.files, (pacs,))
        self._db = db
        self._asking = Confirmation(pacs, self.settings, db, worker_id=WORKER, clock=self.node.time)

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Take reports meanwhile."""
        results = CommitmentResults(self.settings, self._db, worker_id=WORKER, clock=self.node.time)
        service = CommitmentService(self._db, lambda: None, results.take, lambda _: False)
        listener = Listener(self.settings, self._db, self.files, lambda: None, services=(service,))
        try:
            yield listener.start()
        finally:
            listener.stop()

    def pass_time(self, minutes: float) -> None:
        """Send what is due, and ask about what was sent, every half minute."""
        until = self.node.time.minutes + minutes
        while self.node.time.minutes < until:
            self.ask()
            self.node.run_until(self.node.time.minutes + 0.5)

    def ask(self) -> None:
        while self._asking.ask_next():
            pass

    def becomes(self, *states: str) -> None:
        wait_until(partial(self._are, list(states)), what=f"{states}")

    def _are(self, states: list[str]) -> bool:
        return self.states == states

    @property
    def deliveries(self) -> list[DeliveryRecord]:
        """One a job, in the order of the jobs."""
        return sorted(self.node.to("pacs"), key=lambda each: each.job_id)

    @property
    def states(self) -> list[str]:
        return [each.state.value for each in self.deliveries]

    @property
    def unconfirmed(self) -> list[str]:
        """Why each study's result is not confirmed, in the order of the jobs."""
        rows = sorted(study_rows(self._db, 10), key=lambda row: row.jobs[0].job_id)
        return [row.jobs[0].deliveries[0].unconfirmed for row in rows]

    @property
    def proofs(self) -> list[str]:
        return [
            " ".join(sorted({"commitment", "found"} & each.receipt.keys()))
            for each in self.deliveries
        ]


def _pacs(port: int, ae_title: str) -> DicomDestination:
    known: dict[str, Any] = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 1}
    return DicomDestination.model_validate({**known, "port": port, "ae_title": ae_title})


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.sqlite")
    yield database
    database.close()


@pytest.mark.peer("orthanc")
def test_a_pacs_that_is_away_forgets_and_is_not_heard_has_everything_once(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Orthanc reports on associations of its own.
    monkeypatch.setattr("node.confirmation.SAME_ASSOCIATION_S", 0.0)
    port = free_port()
    with (
        Orthanc([Modality("radnode", CALLED, port)]) as orthanc,
        Gateway(orthanc.dicom_port) as line,
    ):
        hospital = Hospital(db, tmp_path, _pacs(line.port, orthanc.aet), port)
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
        hospital = Hospital(db, tmp_path, _pacs(archive.port, AE_TITLE), free_port())
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
        monkeypatch.setattr("node.confirmation.SAME_ASSOCIATION_S", 0.0)
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
