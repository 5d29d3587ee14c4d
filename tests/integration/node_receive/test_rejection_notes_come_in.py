"""Rejection notes over the wire: from C-STORE to a study that goes on without what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from pydicom.dataset import Dataset

from config.settings import ReceiveSettings, SenderSettings, Settings
from node.receive.admission import senders_named
from node.rejection_note_reading import NoteUnreadable, read_note
from node.rejection_notes import RejectionNotes
from node.routing import route_ready_studies
from node.send import send_folder
from node.status_table import status_table
from storage.database import Database
from storage.deliveries import list_deliveries
from storage.jobs import claim_next_job, list_jobs
from storage.overview import StudyRow, study_rows
from storage.records import JobState
from storage.rejection_records import NoteState, ReadNote, RejectionCode
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_instance, mr_series, write
from tests.integration.node_receive.running_listener import CALLED, CALLING, Running, StartListener
from tests.integration.node_receive.test_routing import NOW, _pipeline
from tests.peers.orthanc import Modality, Orthanc

OTHER = f"{STUDY}.2"
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
        self._registry = {"brain": _pipeline()}
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


def test_some_images_rejected_make_a_new_job_without_them(routed: Node, tmp_path: Path) -> None:
    routed.send_note(tmp_path / "note", note(2, 3))
    routed.assemble()
    assert routed.jobs() == [("superseded", "images_rejected", 6), ("queued", "", 4)]
    assert routed.shown().rejected_count == 2


def test_the_end_of_a_study_of_which_nothing_is_left_is_told_to_nobody(
    start_listener: StartListener, tmp_path: Path
) -> None:
    folder = {"type": "folder", "name": "ehr", "outcomes": ["no_pipeline"]}
    settings = Settings.model_validate({"storage": {"disk_low_mib": 0}, "destinations": [folder]})
    receive = ReceiveSettings(port=0, senders=(SenderSettings(ae_title=CALLING),))
    node = Node(start_listener(settings.model_copy(update={"receive": receive})))
    mr_series(tmp_path / "images", 2)
    node.send(tmp_path / "images")
    node.complete()
    node.assemble()
    (told,) = list_deliveries(node.db)
    node.send_note(tmp_path / "note", note(1, 2, title="113038"))
    node.assemble()
    assert [job[1] for job in node.jobs()] == ["no_pipeline_matches", "images_rejected"]
    assert [each.delivery_id for each in list_deliveries(node.db)] == [told.delivery_id]


def test_all_images_rejected_end_the_study_visibly(routed: Node, tmp_path: Path) -> None:
    claim_next_job(routed.db, worker_id="radnode/4711", lease_s=60, now=NOW)
    routed.send_note(tmp_path / "note", note(1, 2, 3, 4, 5, 6, title="113038"))
    routed.assemble()
    assert routed.jobs()[0] == ("superseded", "images_rejected", 6)
    assert routed.jobs()[1] == ("refused", "images_rejected", 0)
    assert routed.killed == [4711]
    assert "none is left" in routed.shown().jobs[1].reason_text


def test_expired_images_stop_the_job_and_change_nothing_else(routed: Node, tmp_path: Path) -> None:
    routed.send_note(tmp_path / "note", note(1, 2, 3, 4, 5, 6, title="113039"))
    routed.assemble()
    routed.assemble()
    assert routed.jobs() == [("superseded", "images_expired", 6)]
    assert routed.shown().rejected_count == 0


def test_a_stranger_rejects_nothing_and_is_seen(routed: Node, tmp_path: Path) -> None:
    routed.send_note(tmp_path / "note", note(1), "STRANGER")
    routed.assemble()
    assert routed.jobs() == [("queued", "", 6)]
    (told,) = routed.shown().rejection_notes
    assert (told.state, told.calling_ae_title) == (NoteState.NOT_OBEYED, "STRANGER")
    (cell,) = [
        str(cell)
        for column in status_table((routed.shown(),)).columns
        for cell in column.cells
        if "rejection note" in str(cell)
    ]
    assert "rejection note 113037 from STRANGER: not obeyed" in cell


@pytest.mark.parametrize(
    ("rule", "calling", "obeyed"),
    [
        ("own_studies", CALLING, True),
        ("own_studies", "STRANGER", False),
        ("all_studies", "STRANGER", True),
        ("ignored", CALLING, False),
    ],
)
def test_who_may_reject_is_a_setting(
    start_listener: StartListener, tmp_path: Path, rule: Any, calling: str, obeyed: bool
) -> None:
    senders = tuple(
        SenderSettings(ae_title=title, rejection_notes=rule) for title in (CALLING, "STRANGER")
    )
    settings = Settings.model_validate({"storage": {"disk_low_mib": 0}})
    receive = ReceiveSettings(port=0, senders=senders)
    node = Node(start_listener(settings.model_copy(update={"receive": receive})))
    assert senders_named(receive, calling)
    mr_series(tmp_path / "images", 5)
    node.send(tmp_path / "images")
    node.send_note(tmp_path / "note", note(1), calling)
    node.complete()
    node.assemble()
    assert node.jobs() == [("queued", "", 4 if obeyed else 5)]


def test_a_note_before_the_images_counts_when_they_come(node: Node, tmp_path: Path) -> None:
    node.send_note(tmp_path / "note", note(1, 4))
    node.assemble()
    assert node.jobs() == []
    mr_series(tmp_path / "images", 6)
    node.send(tmp_path / "images")
    node.complete()
    node.assemble()
    assert node.jobs()[-1] == ("queued", "", 4)


def test_images_sent_again_after_their_rejection_stay_out(routed: Node, tmp_path: Path) -> None:
    routed.send_note(tmp_path / "note", note(1))
    routed.assemble()
    again = mr_instance(1)
    again.ImageComments = "sent again"
    write(again, tmp_path / "again")
    routed.send(tmp_path / "again")
    routed.complete()
    routed.assemble()
    assert routed.jobs() == [("superseded", "images_rejected", 6), ("queued", "", 5)]


def test_a_note_on_key_images_changes_nothing(routed: Node, tmp_path: Path) -> None:
    routed.send_note(tmp_path / "note", note(1, title="113000"))
    routed.assemble()
    assert routed.jobs() == [("queued", "", 6)]
    assert routed.shown().rejection_notes == ()


def test_a_restart_between_the_note_and_its_effect_loses_nothing(
    routed: Node, tmp_path: Path
) -> None:
    routed.send_note(tmp_path / "note", note(1))
    after_restart = Node(routed.running)
    after_restart.assemble()
    assert after_restart.jobs()[-1] == ("queued", "", 5)
    assert list_jobs(routed.db, limit=5, state=JobState.SUPERSEDED)


def _broken(made: Dataset, fault: str) -> Dataset:
    match fault:
        case "title is text":
            made.ConceptNameCodeSequence[0].CodeValue = "113037 " + "x"
        case "no title":
            del made.ConceptNameCodeSequence
        case "evidence of another study":
            made.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = OTHER
        case "empty":
            del made.ContentSequence
            del made.CurrentRequestedProcedureEvidenceSequence
        case "no instance uid":
            del made.ContentSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            del made.CurrentRequestedProcedureEvidenceSequence
    return made


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("title is text", NoteState.NO_REJECTION),
        ("no title", NoteState.NO_REJECTION),
        ("evidence of another study", NoteState.OTHER_STUDY),
        ("empty", NoteState.OTHER_STUDY),
        ("no instance uid", NoteState.OTHER_STUDY),
    ],
)
def test_an_odd_note_takes_nothing_back(
    routed: Node, tmp_path: Path, fault: str, state: NoteState
) -> None:
    routed.send_note(tmp_path / "note", _broken(note(1), fault))
    routed.assemble()
    assert routed.jobs() == [("queued", "", 6)]
    expected = [] if state is NoteState.NO_REJECTION else [state]
    assert [each.state for each in routed.shown().rejection_notes] == expected


def test_a_file_that_is_cut_is_unreadable_and_never_a_crash(tmp_path: Path) -> None:
    content = write(note(1, 2), tmp_path).read_bytes()
    whole = ReadNote(RejectionCode.PATIENT_SAFETY, (f"{SERIES}.1", f"{SERIES}.2"))
    for length in range(0, len(content) + 1, 7):
        (tmp_path / "cut.dcm").write_bytes(content[:length])
        try:
            read = read_note(tmp_path / "cut.dcm", STUDY)
        except NoteUnreadable:
            continue
        assert read is None or len(read.sop_instance_uids) <= len(whole.sop_instance_uids)
    assert read_note(write(note(1, 2), tmp_path), STUDY) == whole


def test_evidence_alone_is_believed_where_the_content_names_nothing(tmp_path: Path) -> None:
    made = note(1, 2)
    del made.ContentSequence
    read = read_note(write(made, tmp_path), STUDY)
    assert read is not None
    assert len(read.sop_instance_uids) == 2


@pytest.mark.peer("orthanc")
def test_orthanc_sends_images_and_a_note_on_them(
    start_listener: StartListener, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"storage": {"disk_low_mib": 0}})
    receive = ReceiveSettings(port=0, senders=(SenderSettings(ae_title=CALLING),))
    node = Node(start_listener(settings.model_copy(update={"receive": receive})))
    with Orthanc([Modality("radnode", CALLED, node.running.port)], aet=CALLING) as orthanc:
        images: Sequence[str] = [orthanc.upload(p) for p in mr_series(tmp_path / "images", 5)]
        orthanc.send_to_modality("radnode", images)
        node.complete()
        node.assemble()
        kept = orthanc.upload(write(note(2), tmp_path / "note"))
        orthanc.send_to_modality("radnode", kept)
        node.assemble()
    assert node.jobs() == [("superseded", "images_rejected", 5), ("queued", "", 4)]
