"""A node that receives images and rejection notes."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import pytest
from pydicom.dataset import Dataset

from config.settings import ReceiveSettings, SenderSettings, Settings
from node.rejection_notes import RejectionNotes
from node.routing import route_ready_studies
from node.send import send_folder
from storage.database import Database
from storage.jobs import list_jobs
from storage.overview import study_rows
from storage.overview_rows import StudyRow
from storage.rejection_records import RejectionCode
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.mr_study import STUDY, mr_instance, mr_series, write
from tests.integration.node_receive.routed_studies import NOW, a_pipeline
from tests.integration.node_receive.running_listener import CALLED, CALLING, Running, StartListener

MEANINGS = {code: code.meaning for code in RejectionCode}


def note(
    *numbers: int, title: RejectionCode | str = RejectionCode.PATIENT_SAFETY, number: int = 1
) -> Dataset:
    """A Key Object Selection of another library on these images."""
    images = [mr_instance(each) for each in numbers]
    for image in images:
        image.ReferringPhysicianName = ""
    meaning = MEANINGS.get(RejectionCode(title), "") if title in MEANINGS else "Of Interest"
    content = hd.ko.KeyObjectSelection(hd.sr.CodedConcept(str(title), "DCM", meaning), images)
    made: Dataset = hd.ko.KeyObjectSelectionDocument(
        images,
        content,
        series_instance_uid=f"{STUDY}.77",
        series_number=77,
        sop_instance_uid=f"{STUDY}.77.{number}",
        instance_number=number,
        manufacturer="PACS of others",
    )
    made.IssuerOfPatientID = "HOSP"
    return made


class Node:
    """A listener with what follows on it, step by step."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.db: Database = running.db
        self.killed: list[int] = []
        self._registry = {"brain": a_pipeline()}
        self.notes = RejectionNotes(
            running.settings,
            running.db,
            running.files,
            worker_prefix="radnode/",
            kill_worker=self.killed.append,
        )

    def send(self, folder: Path, calling: str = CALLING) -> None:
        report = send_folder(folder, "127.0.0.1", self.running.port, CALLED, calling)
        assert not report.failed

    def send_note(self, folder: Path, made: Dataset, calling: str = CALLING) -> None:
        write(made, folder)
        self.send(folder, calling)

    def complete(self) -> None:
        study = get_study(self.db, STUDY)
        assert mark_ready(
            self.db,
            STUDY,
            generation=study.generation,
            last_received_at=study.last_received_at,
            evidence="quiet time",
            now=NOW,
        )

    def assemble(self) -> None:
        self.notes.settle()
        settings, files = self.running.settings, self.running.files
        route_ready_studies(self.db, files, self._registry, settings, now=NOW)

    def jobs(self) -> list[tuple[str, str, int]]:
        """State, reason and number of images of each job, oldest first."""
        return [
            (job.state.value, job.reason_code, sum(len(each.instances) for each in job.inputs))
            for job in reversed(list_jobs(self.db, limit=10))
        ]

    def shown(self) -> StudyRow:
        (row,) = study_rows(self.db, 10)
        return row


@pytest.fixture
def node(start_listener: StartListener) -> Node:
    senders = (SenderSettings(ae_title=CALLING), SenderSettings(ae_title="STRANGER"))
    receive = ReceiveSettings(port=0, senders=senders)
    settings = Settings.model_validate({"storage": {"disk_low_mib": 0}})
    return Node(start_listener(settings.model_copy(update={"receive": receive})))


@pytest.fixture
def routed(node: Node, tmp_path: Path) -> Node:
    mr_series(tmp_path / "images", 6)
    node.send(tmp_path / "images")
    node.complete()
    node.assemble()
    assert node.jobs() == [("queued", "", 6)]
    return node
