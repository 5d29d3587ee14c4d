"""Results reach a PACS over HTTP after an outage, and one that takes no segmentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import site, wait_for_report
from tests.acceptance.small_study import PATIENT_TEXTS, write_small_study
from tests.peers.dcmtk import StoreScp, accepting_only
from tests.peers.orthanc import DicomWeb, Orthanc

PASSWORD = "a-password-that-no-log-shows"


@pytest.mark.peer("orthanc", "orthanc_dicomweb")
def test_an_outage_is_waited_out_and_the_answer_confirms(tmp_path: Path) -> None:
    study = write_small_study(tmp_path / "study")
    orthanc = Orthanc(web=DicomWeb(user="radnode", password=PASSWORD))
    settings = site(tmp_path, PacsStandIn())
    settings["destinations"][0] = {
        "type": "stow",
        "name": "pacs",
        "url": orthanc.web_url,
        "user": "radnode",
        "password": PASSWORD,
        "retry": {"first_s": 0.5, "longest_s": 1},
    }

    with RadnodeProcess(tmp_path, settings) as node:
        with association_to_node(node.port) as association:
            send(association, study.paths)
        node.wait_for("delivery_postponed")
        assert not list((tmp_path / "ehr").glob("*.json"))
        with orthanc:
            report = wait_for_report(node, tmp_path)
        (kept,) = node.studies()
        told = node.output() + node.run("status").stdout + node.run("status", "--json").stdout

    (job,) = kept["jobs"]
    pacs = next(one for one in job["deliveries"] if one["destination"] == "pacs")
    assert (pacs["kind"], pacs["state"]) == ("dicom", "confirmed")
    assert [item["kind"] for item in pacs["sent"]] == ["SEG", "SR"]
    assert pacs["sent"][1]["sop_instance_uid"] in str(report)
    assert [text for text in (*PATIENT_TEXTS, PASSWORD) if text in told] == []


@pytest.mark.peer("dcmtk")
def test_a_pacs_without_segmentations_gets_pages_that_the_job_has_made(tmp_path: Path) -> None:
    study = write_small_study(tmp_path / "study")
    accepted = [SecondaryCaptureImageStorage, EncapsulatedPDFStorage]
    options = accepting_only(tmp_path / "accepted.cfg", accepted)
    settings = site(tmp_path, PacsStandIn())

    with StoreScp(tmp_path / "taken", options=options) as pacs:
        settings["destinations"][0] |= {"port": pacs.port, "ae_title": pacs.ae_title}
        with RadnodeProcess(tmp_path, settings) as node:
            with association_to_node(node.port) as association:
                send(association, study.paths)
            report = wait_for_report(node, tmp_path)
            (kept,) = node.studies()
            table = node.run("status").stdout
        taken = [str(dcmread(path).Modality) for path in pacs.files()]

    (job,) = kept["jobs"]
    delivery = next(one for one in job["deliveries"] if one["destination"] == "pacs")
    assert sorted(taken) == sorted(item["kind"] for item in delivery["sent"]) == ["DOC", "OT"]
    assert "Segmentation Storage" in delivery["fallback"]
    assert "SEG taken: " in " ".join(table.split())
    assert "presentedForm" in str(report)
