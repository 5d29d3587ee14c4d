"""Rejection notes over the wire: from C-STORE to a study that goes on without what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from config.settings import ReceiveSettings, SenderSettings, Settings
from node.receive.admission import senders_named
from node.status_table import status_table
from storage.delivery_reads import list_deliveries
from storage.jobs import claim_next_job, list_jobs
from storage.records import JobState
from storage.rejection_records import NoteState
from tests.integration.node_receive.mr_study import mr_instance, mr_series, write
from tests.integration.node_receive.noted_node import Node, node, note, routed
from tests.integration.node_receive.routed_studies import NOW
from tests.integration.node_receive.running_listener import CALLED, CALLING, StartListener
from tests.peers.orthanc import Modality, Orthanc

__all__ = ["node", "routed"]


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
