"""Before results leave, the PACS is asked whom and which order their study belongs to by now."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from config.settings import FolderDestination, NodeSettings, Settings
from node.delivery import DeliveryLoop
from node.dispatch import sender_for
from node.identity_check import IdentityCheck
from node.identity_lookup import ask_identity
from storage.database import Database
from storage.deliveries import retry_delivery
from storage.delivery_reads import list_deliveries
from storage.instance_files import InstanceFiles
from storage.jobs import finish_job
from storage.records import DeliveryState, DestinationKind, NewDelivery
from tests.integration.node_receive.mr_study import mr_instance, write
from tests.integration.node_receive.superseding_site import (
    A,
    B,
    Pacs,
    Site,
    db,
    kept,
    running,
    site,
)
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port
from tests.peers.scp import start_scp
from tests.peers.scripted_http import Answer, ScriptedHttpServer
from tests.unit.pipelines_objects.kept_result import Kept
from tests.unit.storage.samples import NOW, PATIENT, STUDY, WORKER, claim, job_result, make_job

__all__ = ["db", "kept"]

SAME = {
    "PatientID": PATIENT.patient_id,
    "IssuerOfPatientID": PATIENT.issuer_of_patient_id,
    "AccessionNumber": "A1",
}
MERGED = SAME | {"PatientID": "MERGED", "PatientName": "New^Name", "PatientBirthDate": "19500505"}


@dataclass
class Archive:
    """Answers C-FIND for the study with these entries."""

    entries: list[dict[str, str]] = field(default_factory=list)
    status: int = 0
    port: int = field(default_factory=free_port)
    asked: int = 0

    def find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.asked += 1
        for entry in self.entries:
            match = Dataset()
            match.SpecificCharacterSet = "ISO_IR 192"
            match.QueryRetrieveLevel = "STUDY"
            match.StudyInstanceUID = event.identifier.StudyInstanceUID
            for keyword, value in entry.items():
                setattr(match, keyword, value)
            yield 0xFF00, match
        yield self.status, None


@contextmanager
def answering(archive: Archive) -> Iterator[Archive]:
    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    address = ("127.0.0.1", archive.port)
    start_scp(ae, address, [(evt.EVT_C_FIND, archive.find)])
    yield archive
    ae.shutdown()


def settings_of(port: int, rule: str = "hold", title: str = "ARCHIVE", **more: Any) -> Settings:
    sender: dict[str, Any] = {"ae_title": "PACS", "identity_changed": rule}
    if port:
        sender |= {"find_host": "127.0.0.1", "find_port": port, "find_ae_title": title}
    return Settings.model_validate({"receive": {"senders": [sender | more]}})


def deliver(here: Site, settings: Settings) -> None:
    destination = here.destination
    sender = sender_for(destination, NodeSettings(), InstanceFiles(here.kept.folder))
    check = IdentityCheck(settings, here.db)
    loop = DeliveryLoop(destination, sender, here.db, worker_id=WORKER, check=check)
    while loop.deliver_next(threading.Event()):
        pass


@pytest.mark.parametrize(
    "entry",
    [
        SAME,
        SAME | {"PatientName": "Other^Spelling", "PatientBirthDate": "19510101"},
        {"PatientID": PATIENT.patient_id},
        {},
        {"PatientID": "Müller", "SpecificCharacterSet": ""},
    ],
    ids=["the same", "another spelling", "patient only", "nothing told", "no character set"],
)
def test_what_does_not_contradict_lets_the_result_go(
    db: Database, kept: Kept, entry: dict[str, str]
) -> None:
    with running(Pacs()) as pacs, answering(Archive([entry])) as archive:
        here = site(db, kept, pacs.port)
        here.run(A)
        deliver(here, settings_of(archive.port))
    assert (pacs.kinds(), archive.asked) == (["SEG", "SR"], 1)


@pytest.mark.parametrize("entry", [MERGED, SAME | {"AccessionNumber": "A2"}], ids=["ID", "order"])
def test_a_changed_identity_holds_the_result_until_a_person_releases_it(
    db: Database, kept: Kept, entry: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with running(Pacs()) as pacs, answering(Archive([entry])) as archive:
        here = site(db, kept, pacs.port)
        job_id = here.run(A)
        deliver(here, settings_of(archive.port))

        held = here.delivery(job_id)
        assert (held.state, held.reason_code) == (DeliveryState.DEAD, "identity_changed")
        assert pacs.taken == []
        told = held.reason_text + "".join(capsys.readouterr())
        for value in (PATIENT.patient_id, "MERGED", "New^Name", "A2"):
            assert f" {value}" not in told

        pacs.answers = [0xA700]
        retry_delivery(db, held.delivery_id, now=NOW)
        deliver(here, settings_of(archive.port))
        deliver(here, settings_of(archive.port))
    assert pacs.kinds() == ["SEG", "SR"]
    assert here.delivery(job_id).state is DeliveryState.SENT


def test_a_rebuilt_result_is_of_the_new_patient_under_new_uids_and_the_same_twice(
    db: Database, kept: Kept
) -> None:
    with running(Pacs()) as pacs, answering(Archive([MERGED])) as archive:
        here = site(db, kept, pacs.port)
        job_id = here.run(A)
        pacs.answers = [0, 0xA700]
        deliver(here, settings_of(archive.port, "rebuild"))
        archive.status = 0xC001  # and while the PACS does not answer any more, as before
        archive.entries = []
        deliver(here, settings_of(archive.port, "rebuild"))

    assert {str(item.PatientID) for item in pacs.taken} == {"MERGED"}
    assert {str(item.PatientName) for item in pacs.taken} == {"New^Name"}
    assert pacs.kinds() == ["SEG", "SEG", "SR"]
    assert pacs.taken[0].SOPInstanceUID == pacs.taken[1].SOPInstanceUID
    made = {item.sop_instance_uid for item in here.result(job_id)}
    assert made.isdisjoint(str(item.SOPInstanceUID) for item in pacs.taken)
    named = {
        str(element.value)
        for element in pacs.taken[2].iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert str(pacs.taken[0].SOPInstanceUID) in named


def test_a_rejection_note_goes_to_whom_the_rebuilt_result_went(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs, answering(Archive([MERGED])) as archive:
        here = site(db, kept, pacs.port, superseded="rejection_note")
        for job in (A, B):
            here.run(job)
            deliver(here, settings_of(archive.port, "rebuild"))
    (note,) = (item for item in pacs.taken if item.Modality == "KO")
    assert str(note.PatientID) == "MERGED"


def test_a_report_names_the_patient_of_now(db: Database, tmp_path: Path) -> None:
    folder = FolderDestination(type="folder", name="ehr", folder=tmp_path / "out")
    job_id = make_job(db, A, now=NOW)
    claim(db, now=NOW)
    told = NewDelivery("ehr", DestinationKind.FOLDER, NOW)
    finish_job(db, job_id, worker_id=WORKER, result=job_result(), deliveries=(told,), now=NOW)
    with answering(Archive([MERGED | {"AccessionNumber": "A7"}])) as archive:
        check = IdentityCheck(settings_of(archive.port, "rebuild"), db)
        sender = sender_for(folder, NodeSettings(), InstanceFiles(tmp_path))
        DeliveryLoop(folder, sender, db, worker_id=WORKER, check=check).deliver_next(
            threading.Event()
        )
    (delivery,) = list_deliveries(db)
    text = (tmp_path / "out" / delivery.receipt["file"]).read_text()
    assert '"MERGED"' in text
    assert '"A7"' in text
    assert f'"{PATIENT.patient_id}"' not in text


@pytest.mark.parametrize(
    ("entries", "status"),
    [([], 0), ([MERGED], 0xC001), ([MERGED, SAME], 0)],
    ids=["unknown study", "no success", "listed twice, once as it was"],
)
def test_no_clear_answer_holds_nothing(
    db: Database, kept: Kept, entries: list[dict[str, str]], status: int
) -> None:
    with running(Pacs()) as pacs, answering(Archive(entries, status)) as archive:
        here = site(db, kept, pacs.port)
        here.run(A)
        deliver(here, settings_of(archive.port))
    assert pacs.kinds() == ["SEG", "SR"]


@pytest.mark.parametrize("rule", ["hold", "ignore"])
def test_a_pacs_that_is_down_or_not_to_be_asked_holds_nothing(
    db: Database, kept: Kept, rule: str
) -> None:
    archive = Archive([MERGED])
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port)
        here.run(A)
        if rule == "ignore":
            with answering(archive):
                deliver(here, settings_of(archive.port, rule))
        else:
            deliver(here, settings_of(archive.port, rule))
    assert (pacs.kinds(), archive.asked) == (["SEG", "SR"], 0)


def test_qido_is_asked_as_well_and_reads_names(db: Database) -> None:
    body = [
        {
            "0020000D": {"vr": "UI", "Value": [STUDY]},
            "00100020": {"vr": "LO", "Value": ["MERGED"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Phonetic": "C"}]},
            "00080050": {"vr": "SH"},
        },
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}},
    ]
    answer = Answer(200, json.dumps(body).encode())
    with ScriptedHttpServer(lambda _: answer) as server:
        (sender,) = settings_of(0, qido_url=server.base_url).receive.senders
        told = ask_identity(sender, STUDY, calling_ae_title="RADNODE", timeout_s=5)
    assert told == ({"PatientID": "MERGED", "PatientName": "A^B==C"},)


@pytest.mark.peer("orthanc")
def test_orthanc_tells_that_the_patient_was_corrected(
    db: Database, kept: Kept, tmp_path: Path
) -> None:
    image = mr_instance(1, study=STUDY, series=f"{STUDY}.5")
    image.PatientID, image.AccessionNumber = PATIENT.patient_id, "A1"
    image.IssuerOfPatientID = PATIENT.issuer_of_patient_id
    with (
        running(Pacs()) as pacs,
        Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc,
    ):
        here = site(db, kept, pacs.port)
        settings = settings_of(orthanc.dicom_port, "rebuild", orthanc.aet)
        orthanc.upload(write(image, tmp_path / "before"))
        here.run(A)
        deliver(here, settings)
        before = {str(item.PatientID) for item in pacs.taken}
        pacs.taken.clear()

        orthanc.delete(orthanc.study_id(STUDY) or "")
        image.PatientID, image.PatientName = "MERGED", "Müller^Änne"
        orthanc.upload(write(image, tmp_path / "after"))
        here.run(B)
        deliver(here, settings)
    assert "MERGED" not in before
    assert {(str(item.PatientID), str(item.PatientName)) for item in pacs.taken} == {
        ("MERGED", "Müller^Änne")
    }
