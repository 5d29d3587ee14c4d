"""A site whose results replace each other, and a PACS that keeps what it gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
)

from config.settings import DicomDestination, NodeSettings
from node.delivery import DeliveryLoop
from node.delivery_plan import planned_deliveries
from node.dispatch import sender_for
from pipelines.objects.revision import Revision, revised
from pipelines.objects.write import write_object
from storage.database import Database, open_database
from storage.delivery_reads import list_deliveries
from storage.instance_files import InstanceFiles
from storage.jobs import finish_job, get_job
from storage.records import (
    DeliveryRecord,
    JobState,
    ObjectKind,
    Outcome,
    ResultObject,
)
from tests.peers.ports import free_port
from tests.peers.scp import start_scp
from tests.unit.pipelines_objects.kept_result import Kept, kept_result
from tests.unit.pipelines_objects.synthetic_series import classic_series
from tests.unit.storage.samples import WORKER, claim, job_result, make_job, new_job

A, B = new_job("in-1"), new_job("in-2")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    database = open_database(database_url)
    yield database
    database.close()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    folder = tmp_path / "data"
    folder.mkdir()
    return kept_result(folder, classic_series((4, 40, 48)))


@dataclass
class Pacs:
    """Keeps what it gets; `answers` are the statuses of the next C-STOREs, 0 after them."""

    port: int = field(default_factory=free_port)
    answers: list[int] = field(default_factory=list)
    taken: list[Dataset] = field(default_factory=list)

    def store(self, event: Any) -> int:
        status = self.answers.pop(0) if self.answers else 0
        if status == 0:
            self.taken.append(event.dataset)
        return status

    def kinds(self) -> list[str]:
        return [str(item.Modality) for item in self.taken]


@contextmanager
def running(pacs: Pacs) -> Iterator[Pacs]:
    ae = AE(ae_title="PACS")
    for sop_class in (
        SegmentationStorage,
        Comprehensive3DSRStorage,
        KeyObjectSelectionDocumentStorage,
    ):
        ae.add_supported_context(sop_class)
    start_scp(ae, ("127.0.0.1", pacs.port), [(evt.EVT_C_STORE, pacs.store)])
    yield pacs
    ae.shutdown()


@dataclass
class Site:
    """One destination of a node with a database; jobs end with kept files as their results."""

    db: Database
    kept: Kept
    destination: DicomDestination

    def result(self, number: int) -> tuple[ResultObject, ...]:
        """Files of a result with UIDs of its own."""
        before = [dcmread(self.kept.folder / name) for name in ("seg.dcm", "sr.dcm")]
        kinds = ObjectKind.SEG, ObjectKind.SR
        made = revised(before, Revision(100 + number))
        return tuple(self._kept(item, kind, number) for item, kind in zip(made, kinds, strict=True))

    def _kept(self, item: Dataset, kind: ObjectKind, number: int) -> ResultObject:
        path = self.kept.folder / f"{number}-{kind.value}.dcm"
        size, digest = write_object(item, path)
        return ResultObject(
            kind,
            str(item.SOPClassUID),
            str(item.SOPInstanceUID),
            str(item.SeriesInstanceUID),
            int(item.SeriesNumber),
            str(item.SeriesDescription),
            PurePosixPath(path.name),
            size,
            digest,
        )

    def finish(self, job_id: int) -> None:
        now = datetime.now(UTC)
        claim(self.db, now=now)
        done = replace(get_job(self.db, job_id), state=JobState.SUCCEEDED, outcome=Outcome.FINDINGS)
        done = replace(done, destinations=())
        finish_job(
            self.db,
            job_id,
            worker_id=WORKER,
            result=replace(job_result(), objects=self.result(job_id)),
            deliveries=planned_deliveries(done, (self.destination,), now=now),
            now=now,
        )

    def run(self, job: Any) -> int:
        """A new state of the study, with this job as its only one, which succeeds."""
        job_id = make_job(self.db, job, now=datetime.now(UTC))
        self.finish(job_id)
        return job_id

    def deliver(self) -> None:
        sender = sender_for(self.destination, NodeSettings(), InstanceFiles(self.kept.folder))
        loop = DeliveryLoop(self.destination, sender, self.db, worker_id=WORKER)
        while loop.deliver_next(threading.Event()):
            pass

    def delivery(self, job_id: int) -> DeliveryRecord:
        (found,) = list_deliveries(self.db, job_id=job_id)
        return found


def site(db: Database, kept: Kept, port: int, ae_title: str = "PACS", **settings: Any) -> Site:
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 20}
    retry = {"first_s": 0.001, "longest_s": 0.001}
    settings = {**known, "retry": retry, "port": port, "ae_title": ae_title, **settings}
    return Site(db, kept, DicomDestination.model_validate(settings))


def named(note: Dataset) -> set[str]:
    return {
        str(item.ReferencedSOPInstanceUID)
        for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def predecessors(report: Dataset) -> list[str]:
    return [
        str(item.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence") or []
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
