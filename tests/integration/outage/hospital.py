"""A node's deliveries, its destinations and the lines between them, in time that is set by hand."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

from config.settings import (
    Destination,
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7Destination,
    NodeSettings,
    StowDestination,
)
from node.confirmation import Confirmation
from node.delivery import DeliveryLoop
from node.delivery_plan import planned_deliveries
from node.dispatch import sender_for
from storage.database import Database
from storage.delivery_reads import delivery_events, list_deliveries
from storage.instance_files import InstanceFiles
from storage.jobs import finish_job
from storage.records import DeliveryRecord, JobResult, JobState, ObjectKind, Outcome, ResultObject
from tests.integration.node_receive.mr_study import ROOT, mr_instance
from tests.integration.node_receive.running_listener import receive_settings
from tests.peers.certificates import Site
from tests.unit.storage.samples import WORKER, claim, job_result, make_job, new_job, volume

BEGIN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PATIENT_SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": PATIENT_SYSTEM, "value": "PID-1"}],
    "name": [{"family": "Doe"}],
    "birthDate": "1970-01-01",
}
_KINDS = {ObjectKind.SEG: SegmentationStorage, ObjectKind.SR: ComprehensiveSRStorage}


@dataclass
class Time:
    """A clock that goes when it is told to."""

    now: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.now

    @property
    def minutes(self) -> float:
        """How long it is since the beginning."""
        return (self.now - BEGIN) / timedelta(minutes=1)


def addresses(
    ports: dict[str, int], site: Site, folder: Path, timeout_s: float = 1.0
) -> tuple[Destination, ...]:
    """A PACS over DICOM TLS, one over HTTPS, an EHR, a RIS and a folder, with the usual retries."""
    here: dict[str, Any] = {"host": "127.0.0.1", "timeout_s": timeout_s}
    return (
        DicomDestination.model_validate(
            {
                "type": "dicom",
                "name": "pacs",
                "ae_title": "ORTHANC",
                "confirm": "find",
                "port": ports["pacs"],
                "tls": site.client().model_dump(),
                **here,
            }
        ),
        StowDestination.model_validate(
            {
                "type": "stow",
                "name": "pacs-web",
                "url": f"https://127.0.0.1:{ports['pacs-web']}/dicom-web",
                "ca_file": site.ca_file,
                "timeout_s": timeout_s,
            }
        ),
        FhirDestination.model_validate(
            {
                "type": "fhir",
                "name": "ehr",
                "base_url": f"https://127.0.0.1:{ports['ehr']}/fhir",
                "ca_file": site.ca_file,
                "timeout_s": 2 * timeout_s,
                "patient_systems": [{"issuer": "SITE", "system": PATIENT_SYSTEM}],
            }
        ),
        Hl7Destination.model_validate(
            {"type": "hl7", "name": "ris", "port": ports["ris"], **here},
        ),
        FolderDestination(type="folder", name="folder", folder=folder),
    )


@dataclass
class Deliveries:
    """The outbox of a node; `run_until` lets time pass, `pacs` and its like are its rows."""

    db: Database
    files: InstanceFiles
    destinations: tuple[Destination, ...]
    time: Time = field(default_factory=Time)

    def __post_init__(self) -> None:
        node = NodeSettings(data_dir=self.files.data_dir)
        self.loops = {
            each.name: DeliveryLoop(
                each,
                sender_for(each, node, self.files),
                self.db,
                worker_id=WORKER,
                clock=self.time,
            )
            for each in self.destinations
        }

    def add_job(self, number: int) -> str:
        """Finish a job about a study of its own; returns the Study Instance UID."""
        study = f"{ROOT}.{number}"
        job_id = make_job(
            self.db, replace(new_job(study=study), destinations=()), now=self.time.now
        )
        job = claim(self.db, now=self.time.now)
        assert job.job_id == job_id
        done = replace(job, state=JobState.SUCCEEDED, outcome=Outcome.FINDINGS)
        finish_job(
            self.db,
            job_id,
            worker_id=WORKER,
            result=self._result(number, study),
            deliveries=planned_deliveries(done, self.destinations, now=self.time.now),
            now=self.time.now,
        )
        return study

    def run_until(self, minute: float) -> None:
        """Let time pass in steps of half a minute; what is due is tried."""
        while self.time.minutes < minute:
            self.tick()
            self.time.now += timedelta(seconds=30)

    def tick(self) -> None:
        """Try all that is due now."""
        for loop in self.loops.values():
            while loop.deliver_next(threading.Event()):
                pass

    def confirmation(self) -> Confirmation:
        """Who asks the PACS whether it keeps what it took."""
        (pacs,) = (each for each in self.destinations if isinstance(each, DicomDestination))
        settings = receive_settings().model_copy(update={"destinations": self.destinations})
        return Confirmation(pacs, settings, self.db, worker_id=WORKER, clock=self.time)

    def to(self, name: str) -> Sequence[DeliveryRecord]:
        """The deliveries to one destination."""
        return [each for each in list_deliveries(self.db) if each.destination == name]

    def states(self, name: str) -> list[str]:
        """Their states."""
        return [each.state.value for each in self.to(name)]

    def reasons(self, name: str) -> set[str]:
        """Every reason for which a try did not succeed, so far."""
        of_all = [delivery_events(self.db, each.delivery_id) for each in self.to(name)]
        return {event.reason_code for events in of_all for event in events} - {""}

    def _result(self, number: int, study: str) -> JobResult:
        measured = tuple(
            replace(volume(name, value, 1.5), tracking_uid=f"2.25.99{number}{value}")
            for value, name in enumerate(("anterior", "posterior"), 1)
        )
        objects = tuple(
            self._object(each, number, study) for each in job_result(f"2.25.{number}").objects
        )
        return replace(job_result(), objects=objects, measurements=measured)

    def _object(self, told: ResultObject, number: int, study: str) -> ResultObject:
        path = self.files.results_dir(number) / f"{told.kind.value.lower()}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        dcmwrite(path, _dataset(told, study), enforce_file_format=True)
        relative = path.relative_to(self.files.data_dir)
        return replace(told, path=type(told.path)(relative), sop_class_uid=_KINDS[told.kind])


def _dataset(told: ResultObject, study: str) -> Dataset:
    dataset = mr_instance(study=study, series=told.series_instance_uid, side=256)
    dataset.SOPClassUID = _KINDS[told.kind]
    dataset.SOPInstanceUID = told.sop_instance_uid
    dataset.Modality = told.kind.value
    return dataset


def server_tls(site: Site) -> ssl.SSLContext:
    """What a server of the site shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.pacs.certificate_file, site.pacs.key_file)
    return context
