"""Results, and questions for counts, go to real peers over mutual TLS, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from config.settings import DicomDestination, SenderSettings
from config.tls_settings import ClientTls
from node.errors import CountsUnavailable, DeliveryError, TransientDelivery
from node.find_counts import ask_counts
from node.scu import Stored, store_objects
from tests.integration.node_receive.mr_study import STUDY, mr_series
from tests.integration.node_receive.result_files import SEG_UID, SR_UID, result_files
from tests.peers.certificates import Site, age, make_site
from tests.peers.dcmtk import StoreScp, tls_options
from tests.peers.orthanc import Modality, Orthanc, OrthancTls
from tests.peers.ports import free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    return result_files(tmp_path)


def _statuses(stored: Mapping[str, Stored]) -> dict[str, str]:
    return {uid: one.status for uid, one in stored.items()}


def _storescp(site: Site, folder: Path, *options: str) -> StoreScp:
    identity = (site.pacs.certificate_file, site.pacs.key_file, site.ca_file)
    return StoreScp(folder, options=(*tls_options(*identity), *options))


def _destination(port: int, tls: ClientTls, **changes: Any) -> DicomDestination:
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 10}
    values = {**known, "port": port, "ae_title": "STORESCP", **changes}
    return DicomDestination.model_validate({**values, "tls": tls})


def _failure(destination: DicomDestination, paths: list[Path]) -> DeliveryError:
    with pytest.raises(TransientDelivery) as caught:
        store_objects(destination, "RADNODE", paths)
    return caught.value


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"], ids=["bcp195nd", "bcp195", "extended"])
def test_storescp_takes_results_under_each_of_its_bcp_195_profiles(
    site: Site, results: list[Path], tmp_path: Path, profile: str
) -> None:
    with _storescp(site, tmp_path / "in", profile) as scp:
        receipt = store_objects(_destination(scp.port, site.client()), "RADNODE", results)
        assert len(scp.files()) == 2
    assert _statuses(receipt) == {SEG_UID: "0x0000", SR_UID: "0x0000"}


@pytest.mark.peer("dcmtk")
def test_a_pacs_that_wants_a_certificate_gets_none_and_it_is_told(
    site: Site, results: list[Path], tmp_path: Path
) -> None:
    anonymous = site.client(certificate_file=None, key_file=None)
    with _storescp(site, tmp_path / "in") as scp:
        failure = _failure(_destination(scp.port, anonymous), results)
        assert scp.files() == []
    assert failure.code == "tls_refused_by_peer"
    assert "does not trust our certificate" in failure.text


@pytest.mark.peer("dcmtk")
def test_a_pacs_with_a_certificate_of_another_ca_gets_nothing(
    site: Site, results: list[Path], tmp_path: Path
) -> None:
    other = make_site(tmp_path / "other")
    with _storescp(site, tmp_path / "in") as scp:
        failure = _failure(_destination(scp.port, site.client(ca_file=other.ca_file)), results)
        assert scp.files() == []
    assert failure.code == "tls_certificate_untrusted"


@pytest.mark.peer("dcmtk")
def test_a_pacs_with_an_expired_certificate_gets_nothing(
    results: list[Path], tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site")
    age(site.pacs.certificate_file, tmp_path / "site")
    with _storescp(site, tmp_path / "in") as scp:
        assert _failure(_destination(scp.port, site.client()), results).code == (
            "tls_certificate_expired"
        )
        assert scp.files() == []


@pytest.mark.peer("dcmtk")
def test_the_certificate_must_name_the_host_or_the_name_that_is_expected(
    site: Site, results: list[Path], tmp_path: Path
) -> None:
    with _storescp(site, tmp_path / "in") as scp:
        wrong = site.client(host_name="archive.example")
        right = site.client(host_name="pacs.example")
        unnamed = site.client(host_name="archive.example", verify_host_name=False)

        assert _failure(_destination(scp.port, wrong), results).code == "tls_host_name_differs"
        assert store_objects(_destination(scp.port, right), "RADNODE", results)
        assert store_objects(_destination(scp.port, unnamed), "RADNODE", results)


@pytest.mark.peer("dcmtk")
def test_a_pacs_without_tls_gets_nothing(site: Site, results: list[Path], tmp_path: Path) -> None:
    with StoreScp(tmp_path / "in") as scp:
        failure = _failure(_destination(scp.port, site.client(), timeout_s=2), results)
        assert scp.files() == []
    assert failure.code in {"tls_not_spoken", "tls_connection_closed", "tls_timeout"}


@pytest.mark.peer("dcmtk")
def test_a_renewed_certificate_is_shown_without_a_restart(
    results: list[Path], tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site")
    good = site.node.certificate_file.read_bytes()
    age(site.node.certificate_file, tmp_path / "site")
    with _storescp(site, tmp_path / "in") as scp:
        destination = _destination(scp.port, site.client())
        failure = _failure(destination, results)
        assert failure.code == "tls_files"
        assert "expired" in failure.text

        site.node.certificate_file.write_bytes(good)
        assert store_objects(destination, "RADNODE", results)


@pytest.mark.peer("orthanc")
def test_orthanc_takes_results_and_answers_for_counts_over_mutual_tls(
    site: Site, results: list[Path], tmp_path: Path
) -> None:
    tls = OrthancTls(site.pacs.certificate_file, site.pacs.key_file, site.ca_file)
    with Orthanc([Modality("radnode", "RADNODE", free_port())], tls=tls) as orthanc:
        destination = _destination(orthanc.dicom_port, site.client(), ae_title=orthanc.aet)
        receipt = store_objects(destination, "RADNODE", results)
        for path in mr_series(tmp_path / "mr", 3, study=f"{STUDY}.7", series=f"{STUDY}.7.1"):
            orthanc.upload(path)
        sender = SenderSettings(
            ae_title="ORTHANC",
            find_host="127.0.0.1",
            find_port=orthanc.dicom_port,
            find_tls=site.client(),
        )
        counts = ask_counts(sender, f"{STUDY}.7", calling_ae_title="RADNODE", timeout_s=10)
        anonymous = sender.model_copy(
            update={"find_tls": site.client(certificate_file=None, key_file=None)}
        )
        with pytest.raises(CountsUnavailable, match="does not trust our certificate"):
            ask_counts(anonymous, STUDY, calling_ae_title="RADNODE", timeout_s=10)

    assert _statuses(receipt) == {SEG_UID: "0x0000", SR_UID: "0x0000"}
    assert counts.instances == 3
