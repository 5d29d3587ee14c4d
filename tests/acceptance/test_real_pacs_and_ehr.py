"""A study in a real PACS: routed here, its SEG and SR come back, the EHR has one report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.demo.studies import DATA_DIR
from tests.acceptance.radnode_process import RadnodeProcess
from tests.peers.fhir_server import FhirServer
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port, wait_until
from tests.peers.postgres import PostgresServer

PGBM = DATA_DIR / "pgbm"
PATIENT_SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"

pytestmark = pytest.mark.peer("orthanc", "fhir_server")


@pytest.fixture(scope="module")
def ehr() -> Iterator[FhirServer]:
    with FhirServer() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with PostgresServer() as server:
        yield server.new_database()


def images() -> list[Path]:
    return sorted(PGBM.glob("*/*.dcm"))


def patient() -> dict[str, Any]:
    """The patient as an EHR would have registered them, from the images themselves."""
    header = pydicom.dcmread(images()[0], stop_before_pixels=True)
    birth = str(header.get("PatientBirthDate", ""))
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": PATIENT_SYSTEM, "value": str(header.PatientID)}],
        "name": [{"family": header.PatientName.family_name}],
        **({"birthDate": f"{birth[:4]}-{birth[4:6]}-{birth[6:]}"} if len(birth) == 8 else {}),
    }


def settings(port: int, pacs: Orthanc, ehr: FhirServer, folder: Path) -> dict[str, Any]:
    where = {"host": "127.0.0.1", "port": pacs.dicom_port, "ae_title": pacs.aet}
    counts = {"find_host": "127.0.0.1", "find_port": pacs.dicom_port}
    systems = [{"issuer": "", "system": PATIENT_SYSTEM}]
    retry = {"first_s": 0.5, "longest_s": 2}
    return {
        "node": {"data_dir": str(folder / "data")},
        "storage": {"disk_low_mib": 16},
        "receive": {"port": port, "senders": [{"ae_title": pacs.aet, **counts}]},
        "completeness": {"quiet_time_s": 3},
        "worker": {"device": "cpu", "poll_interval_s": 0.2},
        "destinations": [
            {"type": "dicom", "name": "pacs", **where, "retry": retry},
            {
                "type": "fhir",
                "name": "ehr",
                "base_url": ehr.base_url,
                "patient_systems": systems,
                "retry": retry,
            },
        ],
    }


def environment_of(database_url: str | None) -> dict[str, Any]:
    return {} if database_url is None else {"database_url": database_url}


def modalities(pacs: Orthanc, study_uid: str) -> list[str]:
    found = (pydicom.dcmread(BytesIO(pacs.file(one["ID"]))) for one in pacs.instances(study_uid))
    return sorted(str(instance.Modality) for instance in found)


def delivered(node: RadnodeProcess) -> bool:
    """Whether PACS and EHR have taken what they get, by the node's log."""
    return {"pacs", "ehr"} <= {str(one["destination"]) for one in node.events("delivery_sent")}


def test_a_routed_study_gets_one_seg_one_sr_and_one_report_however_often_it_is_sent(
    tmp_path: Path, ehr: FhirServer, database_url: str | None
) -> None:
    port = free_port()
    ehr.reset([patient()])
    study_uid = str(pydicom.dcmread(images()[0], stop_before_pixels=True).StudyInstanceUID)
    with Orthanc(
        [Modality("radnode", "RADNODE", port)],
        auto_route="stable_study",
        association_close_delay_s=0,
    ) as pacs:
        site = settings(port, pacs, ehr, tmp_path)
        site["storage"] |= environment_of(database_url)
        with RadnodeProcess(tmp_path, site) as node:
            for image in images():
                pacs.upload(image)
            node.wait_until(lambda: delivered(node), what="SEG, SR and report", timeout_s=90)

            expected = sorted(["MR"] * len(images()) + ["SEG", "SR"])
            assert modalities(pacs, study_uid) == expected
            (report,) = ehr.all("DiagnosticReport")
            assert report["status"] == "preliminary"
            assert report["subject"]["reference"] == "Patient/p1"
            assert len(report["result"]) >= 2

            study = pacs.study_id(study_uid)
            assert study is not None
            pacs.send_to_modality("radnode", study)
            wait_until(lambda: _own_results_came_back(node), what="own results", timeout_s=60)
            time.sleep(4)  # longer than the quiet time: a new generation would have begun

            (kept,) = node.studies()
            assert [job["state"] for job in kept["jobs"]] == ["succeeded"]
            assert modalities(pacs, study_uid) == expected
            assert [one["id"] for one in ehr.all("DiagnosticReport")] == [report["id"]]
            assert ehr.versions(f"DiagnosticReport/{report['id']}") == 1


def _own_results_came_back(node: RadnodeProcess) -> bool:
    return any("own_result" in one["instances"] for one in node.events("association_ended"))


def test_a_report_for_an_unknown_patient_waits_and_goes_out_once_they_are_registered(
    tmp_path: Path, ehr: FhirServer
) -> None:
    port = free_port()
    ehr.reset()
    with (
        Orthanc(
            [Modality("radnode", "RADNODE", port)],
            auto_route="stable_study",
            association_close_delay_s=0,
        ) as pacs,
        RadnodeProcess(tmp_path, settings(port, pacs, ehr, tmp_path)) as node,
    ):
        for image in images():
            pacs.upload(image)
        waiting = node.wait_until(
            lambda: _waiting_for(node, "patient_not_found"), what="the waiting report"
        )

        assert waiting["state"] == "pending"
        assert ehr.all("Patient") == []
        assert ehr.all("DiagnosticReport") == []
        ehr.reset([patient()])
        node.wait_until(lambda: delivered(node), what="the report", timeout_s=60)
        assert len(ehr.all("DiagnosticReport")) == 1


def _waiting_for(node: RadnodeProcess, code: str) -> dict[str, Any] | None:
    if not any(one["reason_code"] == code for one in node.events("delivery_postponed")):
        return None
    deliveries = (
        one for study in node.studies() for job in study["jobs"] for one in job["deliveries"]
    )
    return next((one for one in deliveries if one["reason_code"] == code), None)
