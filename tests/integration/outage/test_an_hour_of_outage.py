"""Everything fails for an hour, in every way that it can; afterwards all is there, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import hl7
import pytest

from node.outbox import Outbox
from storage.database import Database
from storage.deliveries import retry_delivery
from storage.instance_files import InstanceFiles
from tests.integration.outage.hospital import (
    PATIENT,
    Deliveries,
    addresses,
    server_tls,
)
from tests.migrated_database import migrated_database
from tests.peers.certificates import Site, make_site
from tests.peers.fhir_server import FhirServer
from tests.peers.gateway import WELL, Gateway, Mood
from tests.peers.mllp import Hl7Receiver
from tests.peers.orthanc import DicomWeb, Modality, Orthanc
from tests.peers.ports import free_port, wait_until
from tests.unit.storage.samples import WORKER

pytestmark = pytest.mark.peer("orthanc", "orthanc_dicomweb", "fhir_server")

P_DATA = b"\x04"
JOBS = 2
SILENT = Mood(is_silent=True)


@pytest.fixture(scope="module")
def ehr() -> Iterator[FhirServer]:
    with FhirServer() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Somebody with certificates of another CA."""
    return make_site(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def pacs() -> Iterator[Orthanc]:
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as running:
        yield running


@pytest.fixture(scope="module")
def pacs_web() -> Iterator[Orthanc]:
    with Orthanc(web=DicomWeb()) as running:
        yield running


@pytest.fixture
def ris() -> Iterator[Hl7Receiver]:
    with Hl7Receiver() as running:
        yield running


@pytest.fixture
def lines(
    site: Site, pacs: Orthanc, pacs_web: Orthanc, ehr: FhirServer, ris: Hl7Receiver
) -> Iterator[dict[str, Gateway]]:
    ehr.reset([PATIENT])
    with (
        Gateway(pacs.dicom_port, server_tls(site)) as to_pacs,
        Gateway(pacs_web.http_port, server_tls(site)) as to_pacs_web,
        Gateway(ehr.port, server_tls(site)) as to_ehr,
        Gateway(ris.port) as to_ris,
    ):
        yield {"pacs": to_pacs, "pacs-web": to_pacs_web, "ehr": to_ehr, "ris": to_ris}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.sqlite")
    yield database
    database.close()


@pytest.fixture
def node(tmp_path: Path, db: Database, site: Site, lines: dict[str, Gateway]) -> Deliveries:
    ports = {name: line.port for name, line in lines.items()}
    destinations = addresses(ports, site, tmp_path / "reports")
    return Deliveries(db, InstanceFiles(tmp_path / "data"), destinations)


def http(status: str, *headers: str) -> bytes:
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [{"code": "processing"}]})
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def is_transaction(request: bytes) -> bool:
    return request.startswith(b"POST /fhir HTTP")


def always(answer: bytes) -> Mood:
    return Mood(instead=lambda request: answer)


def to_transactions(answer: bytes) -> Mood:
    return Mood(instead=lambda request: answer if is_transaction(request) else None)


def assert_all_is_there_once(
    studies: list[str], archives: list[Orthanc], ehr: FhirServer, ris: Hl7Receiver, folder: Path
) -> None:
    for study in studies:
        for pacs in archives:
            assert sorted(each["Modality"] for each in pacs.instances(study)) == ["SEG", "SR"]
    made = {kind: len(ehr.all(kind)) for kind in ("DiagnosticReport", "Observation", "Provenance")}
    count = len(studies)
    assert made == {"DiagnosticReport": count, "Observation": 2 * count, "Provenance": count}
    for report in ehr.all("DiagnosticReport"):
        assert ehr.versions(f"DiagnosticReport/{report['id']}") == 1
        assert report["status"] == "preliminary"
    by_id = {str(hl7.parse(message).segment("MSH")[10]): message for message in ris.taken}
    assert len(by_id) == count
    # What comes again is the same message: the receiver can tell.
    assert set(ris.taken) == set(by_id.values())
    assert len(list(folder.glob("report-*.json"))) == count


def test_after_an_hour_of_outages_everything_arrives_once(
    node: Deliveries,
    lines: dict[str, Gateway],
    site: Site,
    stranger: Site,
    pacs: Orthanc,
    pacs_web: Orthanc,
    ehr: FhirServer,
    ris: Hl7Receiver,
    tmp_path: Path,
) -> None:
    studies = [node.add_job(number) for number in range(1, JOBS + 1)]
    to_pacs, to_ehr, to_ris = lines["pacs"], lines["ehr"], lines["ris"]
    to_web = lines["pacs-web"]

    to_pacs.is_open, to_web.is_open, to_ris.is_open = False, False, False
    to_ehr.mood = always(http("500 Internal Server Error"))
    node.run_until(10)
    assert node.reasons("pacs") == {"no_association"}
    assert node.reasons("pacs-web") == {"connection"}
    assert node.reasons("ehr") == {"http_500"}
    assert node.reasons("ris") == {"no_connection"}
    assert node.states("folder") == ["confirmed"] * JOBS

    to_pacs.is_open, to_web.is_open, to_ris.is_open = True, True, True
    to_pacs.tls = to_web.tls = server_tls(stranger)
    to_ehr.mood, to_ris.mood = always(http("429 Too Many Requests", "Retry-After: 900")), SILENT
    node.run_until(20)
    tries = [each.attempts for each in node.to("ehr")]
    for name in ("pacs", "pacs-web"):
        assert "tls_certificate_untrusted" in node.reasons(name)
    assert "http_429" in node.reasons("ehr")

    to_pacs.tls, to_pacs.mood = server_tls(site), SILENT
    to_web.tls, to_web.mood = server_tls(site), always(http("503 Busy", "Retry-After: 60"))
    to_ehr.mood, to_ehr.tls = WELL, server_tls(stranger)
    node.run_until(27)
    assert [each.attempts for each in node.to("ehr")] == tries  # it asked for 15 minutes
    node.run_until(30)
    assert "connection" in node.reasons("ehr")
    assert "http_503" in node.reasons("pacs-web")

    to_pacs.mood = to_web.mood = Mood(most_bytes=70_000, hangs_up=True)
    to_ehr.mood, to_ehr.tls = SILENT, server_tls(site)
    to_ris.mood = Mood(loses=lambda request, answer: True)
    node.run_until(40)
    for archive in (pacs, pacs_web):
        assert [archive.instances(study) for study in studies] == [[]] * JOBS
    assert "timeout" in node.reasons("ehr")

    to_pacs.mood = Mood(loses=lambda _, answer: answer[:1] == P_DATA)
    to_web.mood = Mood(loses=lambda request, answer: True)
    to_ehr.mood = to_transactions(http("422 Unprocessable Content"))
    node.run_until(50)
    assert node.states("ehr") == ["dead"] * JOBS
    assert "http_422" in node.reasons("ehr")
    for archive in (pacs, pacs_web):
        assert [len(archive.instances(study)) for study in studies] == [1] * JOBS

    to_ehr.mood = Mood(loses=lambda request, _: is_transaction(request))
    for letter in node.to("ehr"):
        retry_delivery(node.db, letter.delivery_id, now=node.time.now)
    node.tick()
    assert node.states("ehr") == ["pending"] * JOBS
    assert len(ehr.all("DiagnosticReport")) == JOBS

    to_pacs.mood = to_web.mood = to_ehr.mood = to_ris.mood = WELL
    node.run_until(85)
    assert node.states("pacs") == ["sent"] * JOBS
    for name in ("pacs-web", "ehr", "ris", "folder"):
        assert node.states(name) == ["confirmed"] * JOBS
    assert_all_is_there_once(studies, [pacs, pacs_web], ehr, ris, tmp_path / "reports")


def test_what_was_sent_is_confirmed_although_the_pacs_was_away_when_it_was_asked(
    node: Deliveries, lines: dict[str, Gateway]
) -> None:
    node.add_job(21)
    node.tick()
    assert node.states("pacs") == ["sent"]
    confirmation = node.confirmation()

    for mood in (None, SILENT, Mood(loses=lambda _, answer: answer[:1] == P_DATA)):
        lines["pacs"].is_open = mood is not None
        lines["pacs"].mood = mood or WELL
        assert confirmation.ask_next()
        assert not confirmation.ask_next()  # not at once again
        assert node.states("pacs") == ["sent"]
        node.time.now += timedelta(minutes=11)
    lines["pacs"].mood = WELL
    assert confirmation.ask_next()
    assert node.states("pacs") == ["confirmed"]


def test_destinations_that_keep_us_waiting_hold_no_other(
    db: Database,
    lines: dict[str, Gateway],
    site: Site,
    pacs: Orthanc,
    pacs_web: Orthanc,
    ehr: FhirServer,
    ris: Hl7Receiver,
    tmp_path: Path,
) -> None:
    ports = {name: line.port for name, line in lines.items()}
    destinations = addresses(ports, site, tmp_path / "reports", timeout_s=60)
    node = Deliveries(db, InstanceFiles(tmp_path / "data"), destinations)
    studies = [node.add_job(number) for number in range(11, 11 + JOBS)]
    for name in ("pacs", "ehr"):
        lines[name].mood = SILENT
    node.time.now += timedelta(minutes=5)  # by then reports wait for no image any more
    outbox = Outbox(list(node.loops.values()), db, worker_id=WORKER)
    outbox.start()

    for name in ("ris", "folder"):
        wait_until(partial(_are, node, name, ["confirmed"] * JOBS), what=name)
    assert [lines[name].connections for name in ("pacs", "ehr")] == [1, 1]
    assert sorted(node.states("pacs")) == ["pending"] * (JOBS - 1) + ["sending"]

    for name in ("pacs", "ehr"):
        lines[name].mood = WELL
        lines[name].drop()
    wait_until(partial(_become, node, "pacs", ["sent"] * JOBS), what="the PACS")
    wait_until(partial(_become, node, "ehr", ["confirmed"] * JOBS), what="the EHR")
    outbox.stop(5)
    assert_all_is_there_once(studies, [pacs, pacs_web], ehr, ris, tmp_path / "reports")


def _become(node: Deliveries, name: str, states: list[str]) -> bool:
    node.time.now += timedelta(seconds=10)
    return _are(node, name, states)


def _are(node: Deliveries, name: str, states: list[str]) -> bool:
    return node.states(name) == states
