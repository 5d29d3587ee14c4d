"""A PACS learns that newer results replace older ones, as its settings say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from storage.confirmations import begin_confirmations, send_again
from storage.database import Database
from storage.records import (
    DeliveryState,
    ObjectKind,
    Purpose,
)
from storage.sent_objects import sent_objects
from tests.integration.node_receive.superseding_site import (
    A,
    B,
    Pacs,
    db,
    kept,
    named,
    predecessors,
    running,
    site,
)
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port
from tests.unit.pipelines_objects.kept_result import Kept
from tests.unit.pipelines_objects.synthetic_series import STUDY as IMAGES_STUDY
from tests.unit.storage.samples import WORKER, make_job, new_job

__all__ = ["db", "kept"]


def test_the_new_report_names_the_one_that_it_replaces(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port)
        older = here.run(A)
        here.deliver()
        newer = here.run(B)
        here.deliver()

    assert pacs.kinds() == ["SEG", "SR", "SEG", "SR"]
    first, second = (item for item in pacs.taken if item.Modality == "SR")
    assert (predecessors(first), predecessors(second)) == ([], [str(first.SOPInstanceUID)])
    sent = sent_objects(here.delivery(newer).receipt)
    assert str(second.SOPInstanceUID) in {item.sop_instance_uid for item in sent}
    assert here.delivery(older).purpose is Purpose.TELL


def test_each_report_names_its_nearest_predecessor_also_one_that_comes_back(
    db: Database,
    kept: Kept,
) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port)
        for job in (A, B):
            here.run(job)
            here.deliver()
        here.finish(make_job(db, A, now=datetime.now(UTC)))
        here.deliver()

    first, second, again = (item for item in pacs.taken if item.Modality == "SR")
    assert predecessors(again) == [str(second.SOPInstanceUID)]
    assert len({first.SOPInstanceUID, second.SOPInstanceUID, again.SOPInstanceUID}) == 3


def test_a_rejection_note_takes_back_what_was_really_sent(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, superseded="rejection_note", segmentation="fractional")
        older = here.run(A)
        here.deliver()
        sent = {str(item.SOPInstanceUID) for item in pacs.taken}
        here.run(B)
        here.deliver()

    (note,) = (item for item in pacs.taken if item.Modality == "KO")
    assert named(note) == sent
    assert sent.isdisjoint({item.sop_instance_uid for item in here.result(older)})
    assert not any(predecessors(item) for item in pacs.taken)
    withdrawal = here.delivery(older)
    assert (withdrawal.purpose, withdrawal.state) == (Purpose.WITHDRAW, DeliveryState.SENT)
    (told,) = sent_objects(withdrawal.receipt)
    assert (told.kind, told.sop_instance_uid) == (ObjectKind.KO, str(note.SOPInstanceUID))


def test_a_pacs_that_never_got_the_older_result_gets_no_note(db: Database, kept: Kept) -> None:
    pacs = Pacs()
    here = site(db, kept, pacs.port, superseded="rejection_note", timeout_s=5, retry={})
    older = here.run(A)
    here.deliver()
    assert here.delivery(older).reason_code == "no_association"
    here.run(B)
    with running(pacs):
        here.deliver()
    assert pacs.kinds() == ["SEG", "SR"]
    assert here.delivery(older).state is DeliveryState.DEAD


def test_half_a_result_that_arrived_is_taken_back_too(db: Database, kept: Kept) -> None:
    with running(Pacs(answers=[0, 0xC001])) as pacs:
        here = site(db, kept, pacs.port, superseded="rejection_note")
        older = here.run(A)
        here.deliver()
        assert here.delivery(older).state is DeliveryState.DEAD
        here.run(B)
        here.deliver()
    assert pacs.kinds() == ["SEG", "KO", "SEG", "SR"]
    assert named(pacs.taken[1]) == {str(pacs.taken[0].SOPInstanceUID)}


def test_a_note_that_does_not_get_through_is_sent_again_as_it_was(
    db: Database,
    kept: Kept,
) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, superseded="rejection_note")
        older = here.run(A)
        here.deliver()
        here.run(B)
        pacs.answers = [0xA700]
        here.deliver()
        here.deliver()
        now = datetime.now(UTC)
        begin_confirmations(db, "pacs", sent_after=here.delivery(older).created_at, now=now)
        lost = {"worker_id": WORKER, "code": "commitment_failed", "text": "", "due_at": now}
        assert send_again(db, here.delivery(older).delivery_id, now=now, **lost)  # type: ignore[arg-type]
        here.deliver()
    notes = [item for item in pacs.taken if item.Modality == "KO"]
    assert len(notes) == 2
    assert content(notes[0]) == content(notes[1])


def test_what_was_rejected_comes_back_under_new_uids(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, superseded="rejection_note")
        older = here.run(A)
        here.deliver()
        first = {str(item.SOPInstanceUID) for item in pacs.taken}
        here.run(B)
        here.deliver()
        here.finish(make_job(db, A, now=datetime.now(UTC)))
        pacs.taken.clear()
        here.deliver()
        again = {str(item.SOPInstanceUID) for item in pacs.taken if item.Modality != "KO"}
        assert sorted(pacs.kinds()) == ["KO", "SEG", "SR"]
        assert again.isdisjoint(first)
        sent = {item.sop_instance_uid for item in sent_objects(here.delivery(older).receipt)}
        assert sent == again
        here.run(new_job("in-3"))
        pacs.taken.clear()
        here.deliver()
    (note,) = (item for item in pacs.taken if item.Modality == "KO")
    assert named(note) == again


def test_nothing_is_told_where_the_settings_say_so(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, superseded="none")
        for job in (A, B):
            here.run(job)
            here.deliver()
    assert pacs.kinds() == ["SEG", "SR", "SEG", "SR"]
    assert not any(predecessors(item) for item in pacs.taken)


def test_a_note_that_is_not_wanted_any_more_is_a_dead_letter(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, superseded="rejection_note")
        older = here.run(A)
        here.deliver()
        here.run(B)
        here.destination = here.destination.model_copy(update={"superseded": "none"})
        here.deliver()
    assert here.delivery(older).reason_code == "no_rejection_note"
    assert "KO" not in pacs.kinds()


@pytest.mark.peer("orthanc")
def test_orthanc_takes_the_note_and_the_report_with_a_predecessor(
    db: Database,
    kept: Kept,
) -> None:
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc:
        here = site(db, kept, orthanc.dicom_port, orthanc.aet)
        for job in (A, B):
            here.run(job)
            here.deliver()
        here.destination = here.destination.model_copy(update={"superseded": "rejection_note"})
        for digest in ("in-3", "in-4"):
            here.run(new_job(digest))
            here.deliver()
        kept_there = [
            dcmread(BytesIO(orthanc.file(item["ID"]))) for item in orthanc.instances(IMAGES_STUDY)
        ]

    (note,) = (item for item in kept_there if item.Modality == "KO")
    reports = {str(item.SOPInstanceUID): item for item in kept_there if item.Modality == "SR"}
    assert len(reports) == 4
    assert len(named(note) & set(reports)) == 1
    (older,) = (uid for report in reports.values() for uid in predecessors(report))
    assert older in reports
    assert older not in named(note)


def content(item: Dataset) -> str:
    return sha256(json.dumps(item.to_json_dict(), sort_keys=True).encode()).hexdigest()
