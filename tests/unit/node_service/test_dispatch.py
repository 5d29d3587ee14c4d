from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from config.settings import (
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7Destination,
    NodeSettings,
    RetrySettings,
)
from fhir.errors import TransientFhirError
from fhir.progress import Progress
from node.dispatch import sender_for
from node.errors import CannotStart, TransientDelivery
from storage.instance_files import InstanceFiles
from tests.acceptance.small_study import write_small_study
from tests.peers.mllp import Hl7Receiver
from tests.peers.ports import free_port
from tests.unit.fhir.finished_jobs import with_findings

NODE = NodeSettings()


def test_a_folder_gets_the_report_and_that_proves_it(tmp_path: Path, files: InstanceFiles) -> None:
    folder = tmp_path / "ehr"
    sender = sender_for(FolderDestination(type="folder", name="ehr", folder=folder), NODE, files)

    receipt = sender.send(with_findings(), Progress())

    assert sender.confirms
    assert json.loads((folder / receipt["file"]).read_text())["resourceType"] == "Bundle"


def test_a_pacs_that_is_down_is_a_passing_error_and_its_answer_no_proof(
    tmp_path: Path, files: InstanceFiles
) -> None:
    study = write_small_study(tmp_path / "study")
    (files.data_dir / "seg.dcm").write_bytes(study.paths[0].read_bytes())
    finished = with_findings()
    objects = (replace(finished.objects[0], path=PurePosixPath("seg.dcm")),)
    pacs = DicomDestination(
        type="dicom", name="pacs", host="127.0.0.1", port=free_port(), ae_title="PACS"
    )
    sender = sender_for(pacs, NODE, files)

    assert not sender.confirms
    with pytest.raises(TransientDelivery):
        sender.send(replace(finished, objects=objects), Progress())


def test_a_receiver_of_hl7_proves_by_its_acknowledgement(files: InstanceFiles) -> None:
    with Hl7Receiver() as receiver:
        ris = Hl7Destination(type="hl7", name="ris", host="127.0.0.1", port=receiver.port)
        sender = sender_for(ris, NODE, files)
        receipt = sender.send(with_findings(), Progress())

    assert sender.confirms
    assert receipt["ack"] == "AA"


def test_an_ehr_that_is_down_is_a_passing_error(files: InstanceFiles) -> None:
    url = f"http://127.0.0.1:{free_port()}/fhir"
    ehr = FhirDestination(type="fhir", name="ehr", base_url=url, retry=RetrySettings())

    with pytest.raises(TransientFhirError):
        sender_for(ehr, NODE, files).send(with_findings(), Progress())


def test_certificates_that_cannot_be_used_are_told_before_the_start(
    tmp_path: Path, files: InstanceFiles
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    ehr = FhirDestination(
        type="fhir", name="ehr", base_url="https://ehr", ca_file=tmp_path / "ca.pem"
    )

    with pytest.raises(CannotStart, match="destination ehr: ca_file"):
        sender_for(ehr, NODE, files)
