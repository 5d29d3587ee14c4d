"""A PACS rejects our own SEG over the wire, and the EHR's report becomes entered in error."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from config.settings import (
    DicomDestination,
    FolderDestination,
    NodeSettings,
    ReceiveSettings,
    SenderSettings,
    Settings,
)
from node.delivery import DeliveryLoop
from node.delivery_plan import planned_deliveries
from node.dispatch import sender_for
from storage.deliveries import claim_next_delivery, settle_sent
from storage.jobs import claim_next_job, finish_job
from storage.records import JobState, ObjectKind
from storage.rejection_records import RejectionCode
from storage.sent_objects import RECEIPT_KEY, SentObject, told
from tests.integration.node_receive.mr_study import STUDY, mr_instance, mr_series
from tests.integration.node_receive.noted_node import MEANINGS, Node
from tests.integration.node_receive.routed_studies import NOW
from tests.integration.node_receive.running_listener import CALLING, StartListener
from tests.unit.storage.samples import WORKER, job_result

SENDER, ARCHIVE = CALLING, "ARCHIVE"
SEG_UID = "2.25.900.1"


def segmentation() -> Dataset:
    made = mr_instance(1)
    made.SOPClassUID, made.SOPInstanceUID = SegmentationStorage, SEG_UID
    made.SeriesInstanceUID, made.ReferringPhysicianName = "2.25.900.2", ""
    return made


def note_on_result(title: RejectionCode) -> Dataset:
    """What a person at the archive makes of our SEG."""
    named = [segmentation()]
    code = hd.sr.CodedConcept(title.value, "DCM", MEANINGS[title])
    made: Dataset = hd.ko.KeyObjectSelectionDocument(
        named,
        hd.ko.KeyObjectSelection(code, named),
        series_instance_uid=f"{STUDY}.78",
        series_number=78,
        sop_instance_uid=f"{STUDY}.78.1",
        instance_number=1,
        manufacturer="PACS of others",
    )
    made.IssuerOfPatientID = "HOSP"
    return made


class Site:
    """A node that has told a result to an archive and to a folder."""

    def __init__(self, start: StartListener, folder: Path, **archive: Any) -> None:
        pacs = DicomDestination(type="dicom", name="pacs", host="h", port=104, ae_title=ARCHIVE)
        ehr = FolderDestination(type="folder", name="ehr", folder=folder / "ehr")
        senders = (SenderSettings(ae_title=SENDER), SenderSettings(ae_title=ARCHIVE, **archive))
        settings = Settings.model_validate({"storage": {"disk_low_mib": 0}}).model_copy(
            update={
                "receive": ReceiveSettings(port=0, senders=senders),
                "destinations": (pacs, ehr),
            }
        )
        self.node = Node(start(settings))
        self._folder = folder
        self._loop = DeliveryLoop(
            ehr,
            sender_for(ehr, NodeSettings(), self.node.running.files),
            self.node.db,
            worker_id=WORKER,
        )
        mr_series(folder / "images", 3)
        self.node.send(folder / "images", SENDER)
        self.node.complete()
        self.node.assemble()
        self._finish((pacs, ehr))
        self._take_at_pacs()

    def _finish(self, destinations: Any) -> None:
        db = self.node.db
        job = claim_next_job(db, worker_id=WORKER, lease_s=60, now=NOW)
        assert job is not None
        result = job_result("2.25.900")
        done = replace(job, state=JobState.SUCCEEDED, outcome=result.outcome, destinations=())
        plan = planned_deliveries(done, destinations, now=NOW)
        finish_job(db, job.job_id, worker_id=WORKER, result=result, deliveries=plan, now=NOW)

    def _take_at_pacs(self) -> None:
        db = self.node.db
        taken = claim_next_delivery(db, destination="pacs", worker_id=WORKER, lease_s=60, now=NOW)
        assert taken is not None
        sent = SentObject(ObjectKind.SEG, "BINARY", SegmentationStorage, SEG_UID, "2.25.900.2", "")
        settle_sent(
            db,
            taken.delivery_id,
            worker_id=WORKER,
            confirmed=True,
            receipt={RECEIPT_KEY: told([sent])},
            now=NOW,
        )

    def reject(self, title: RejectionCode, calling: str = ARCHIVE) -> None:
        self.node.send_note(self._folder / "note", note_on_result(title), calling)
        self.node.assemble()

    def report(self) -> str:
        """The status of the report that the folder has when all that is due was delivered."""
        while self._loop.deliver_next(threading.Event()):
            pass
        (path,) = (self._folder / "ehr").glob("report-*.json")
        resources = [entry["resource"] for entry in json.loads(path.read_text())["entry"]]
        (status,) = [r["status"] for r in resources if r["resourceType"] == "DiagnosticReport"]
        return str(status)


@pytest.mark.parametrize(
    ("title", "calling", "status"),
    [
        (RejectionCode.QUALITY, ARCHIVE, "entered-in-error"),
        (RejectionCode.PATIENT_SAFETY, ARCHIVE, "entered-in-error"),
        (RejectionCode.INCORRECT_WORKLIST_ENTRY, SENDER, "entered-in-error"),
        (RejectionCode.RETENTION_EXPIRED, ARCHIVE, "preliminary"),
    ],
    ids=lambda value: str(value),
)
def test_what_a_person_rejects_at_the_pacs_is_withdrawn_at_the_ehr(
    start_listener: StartListener, tmp_path: Path, title: RejectionCode, calling: str, status: str
) -> None:
    site = Site(start_listener, tmp_path)
    assert site.report() == "preliminary"
    site.reject(title, calling)
    assert site.report() == status
    state = "superseded" if status == "entered-in-error" else "succeeded"
    assert [job[0] for job in site.node.jobs()] == [state]


@pytest.mark.parametrize(
    "archive", [{"rejected_results": "stand"}, {"rejection_notes": "ignored"}], ids=str
)
def test_a_site_may_let_rejected_results_stand(
    start_listener: StartListener, tmp_path: Path, archive: dict[str, Any]
) -> None:
    site = Site(start_listener, tmp_path, **archive)
    site.report()
    site.reject(RejectionCode.QUALITY)
    assert site.report() == "preliminary"
    (shown,) = site.node.shown().rejection_notes
    assert shown.state == "not_obeyed"
