"""The TLS port, asked by real peers: who comes in, who does not, and what is told of it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import SenderSettings
from storage.audit import list_audit
from storage.rejections import list_rejections
from tests.integration.node_receive.mr_study import STUDY, mr_series
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.integration.node_receive.sender import association
from tests.peers.certificates import Site, age, make_site
from tests.peers.dcmtk import echoscu, storescu, tls_options
from tests.peers.orthanc import Modality, Orthanc, OrthancTls
from tests.peers.ports import wait_until

StartTls = Callable[..., Running]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


@pytest.fixture
def start_tls(start_listener: StartListener, site: Site) -> StartTls:
    def start(**changes: object) -> Running:
        tls = changes.pop("tls", site.server())
        return start_listener(receive_settings(tls=tls, **changes))

    return start


def _identity(site: Site) -> tuple[str, ...]:
    return tls_options(site.pacs.certificate_file, site.pacs.key_file, site.ca_file)


def _echoes(port: int, options: tuple[str, ...], *, calling: str = CALLING) -> bool:
    return echoscu(port, calling=calling, called=CALLED, options=options).returncode == 0


def _reasons(running: Running) -> dict[str, int]:
    """Wait for the counts of rejections, by reason."""
    rows = wait_until(lambda: list_rejections(running.db, 100), what="a counted rejection")
    return {row.reason: row.count for row in rows}


def _handshake(port: int, *options: str) -> str:
    """Try a handshake with OpenSSL's own client and return what it says."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    done = subprocess.run(
        command,
        input=b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"], ids=["bcp195nd", "bcp195", "extended"])
def test_storescu_stores_under_each_of_its_bcp_195_profiles(
    start_tls: StartTls, site: Site, tmp_path: Path, profile: str
) -> None:
    running = start_tls()
    sent = storescu(
        running.listener.tls_port,
        mr_series(tmp_path / "mr", 3),
        calling=CALLING,
        called=CALLED,
        options=(*_identity(site), profile),
    )
    assert sent.returncode == 0, sent.stdout
    assert sent.stdout.count("Received Store Response (Success)") == 3


@pytest.mark.peer("dcmtk")
def test_both_ports_serve_side_by_side(start_tls: StartTls, site: Site) -> None:
    running = start_tls()
    assert _echoes(running.listener.tls_port, _identity(site))
    assert _echoes(running.port, ())


@pytest.mark.peer("dcmtk")
def test_tls_may_be_the_only_way(start_tls: StartTls, site: Site) -> None:
    running = start_tls(port=None)
    assert running.port == 0
    assert _echoes(running.listener.tls_port, _identity(site))


@pytest.mark.peer("dcmtk")
def test_a_caller_of_another_ca_is_turned_away_counted_and_audited(
    start_tls: StartTls, site: Site, tmp_path: Path
) -> None:
    running = start_tls()
    other = make_site(tmp_path / "other")
    theirs = tls_options(other.pacs.certificate_file, other.pacs.key_file, site.ca_file)

    assert not _echoes(running.listener.tls_port, theirs)

    assert _reasons(running) == {"tls_certificate_untrusted": 1}
    (line,) = wait_until(lambda: list_audit(running.db, 10), what="an audit line")
    assert (line.event, line.outcome) == ("association_rejected", "failure")
    assert line.detail["address"] == "127.0.0.1"


@pytest.mark.peer("dcmtk")
def test_a_caller_with_an_expired_certificate_is_turned_away(
    start_tls: StartTls, site: Site, tmp_path: Path
) -> None:
    running = start_tls()
    age(site.pacs.certificate_file, tmp_path / "site")
    assert not _echoes(running.listener.tls_port, _identity(site))
    assert _reasons(running) == {"tls_certificate_expired": 1}


@pytest.mark.peer("dcmtk")
def test_a_caller_without_a_certificate_is_turned_away(start_tls: StartTls, site: Site) -> None:
    running = start_tls()
    anonymous = ("+tla", "+cf", str(site.ca_file))
    assert not _echoes(running.listener.tls_port, anonymous)
    assert _reasons(running) == {"tls_certificate_missing": 1}


@pytest.mark.peer("dcmtk")
def test_where_certificates_are_not_required_encryption_alone_will_do(
    start_tls: StartTls, site: Site
) -> None:
    running = start_tls(tls=site.server(require_client_certificate=False))
    assert _echoes(running.listener.tls_port, ("+tla", "+cf", str(site.ca_file)))


@pytest.mark.peer("dcmtk")
def test_a_plain_caller_on_the_tls_port_is_turned_away(start_tls: StartTls) -> None:
    running = start_tls()
    assert not _echoes(running.listener.tls_port, ())
    assert _reasons(running) == {"tls_not_spoken": 1}


@pytest.mark.peer("dcmtk")
def test_a_tls_caller_on_the_plain_port_is_turned_away_at_once(
    start_tls: StartTls, site: Site
) -> None:
    running = start_tls()
    assert not _echoes(running.port, _identity(site))
    assert _echoes(running.port, ())


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_of_tls_are_refused(start_tls: StartTls, version: str) -> None:
    running = start_tls()
    told = _handshake(running.listener.tls_port, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in told
    assert "alert protocol version" in told
    assert _reasons(running) == {"tls_version_refused": 1}


@pytest.mark.parametrize(
    "cipher",
    ["AES128-SHA", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"],
)
def test_cipher_suites_outside_of_bcp_195_are_refused(start_tls: StartTls, cipher: str) -> None:
    running = start_tls()
    told = _handshake(running.listener.tls_port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in told
    assert _reasons(running) == {"tls_no_shared_cipher": 1}


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_of_bcp_195_are_spoken(
    start_tls: StartTls, site: Site, option: str, version: str
) -> None:
    running = start_tls()
    files = ("-cert", str(site.pacs.certificate_file), "-key", str(site.pacs.key_file))
    told = _handshake(running.listener.tls_port, option, *files, "-CAfile", str(site.ca_file))
    assert f"New, {version}" in told
    assert "Verify return code: 0 (ok)" in told


@pytest.mark.peer("dcmtk")
def test_a_caller_that_falls_silent_in_its_handshake_holds_nobody_up(
    start_tls: StartTls, site: Site
) -> None:
    running = start_tls()
    address = ("127.0.0.1", running.listener.tls_port)
    silent = [socket.create_connection(address) for _ in range(8)]
    try:
        silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")
        assert _echoes(running.listener.tls_port, _identity(site))
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.peer("dcmtk")
def test_a_handshake_that_is_never_finished_is_ended_and_counted(start_tls: StartTls) -> None:
    running = start_tls(network_timeout_s=0.3)
    with socket.create_connection(("127.0.0.1", running.listener.tls_port)) as silent:
        silent.settimeout(20)
        assert silent.recv(100) == b""
    assert _reasons(running) == {"tls_timeout": 1}


def _shown_certificate(port: int, site: Site) -> bytes:
    context = ssl.create_default_context(cafile=site.ca_file)
    context.load_cert_chain(site.pacs.certificate_file, site.pacs.key_file)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    assert certificate
    return certificate


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_never(
    start_tls: StartTls, site: Site, tmp_path: Path
) -> None:
    running = start_tls()
    port = running.listener.tls_port
    first = _shown_certificate(port, site)

    site.node.certificate_file.write_text("half a certific")
    assert _shown_certificate(port, site) == first

    renewed = make_site(tmp_path / "new").node
    shutil.copy(tmp_path / "new" / "ca.pem", site.ca_file)
    shutil.copy(renewed.key_file, site.node.key_file)
    shutil.copy(renewed.certificate_file, site.node.certificate_file)
    shutil.copy(tmp_path / "new" / "pacs.pem", site.pacs.certificate_file)
    shutil.copy(tmp_path / "new" / "pacs.key", site.pacs.key_file)
    assert _shown_certificate(port, site) != first


@pytest.mark.peer("dcmtk")
def test_a_sender_bound_to_its_certificate_needs_that_one(start_tls: StartTls, site: Site) -> None:
    bound = SenderSettings(ae_title=CALLING, certificate_fingerprints=(site.pacs.fingerprint,))
    named = SenderSettings(ae_title="NAMED", certificate_names=("pacs.example",))
    running = start_tls(senders=(bound, named))
    port = running.listener.tls_port
    other = tls_options(site.node.certificate_file, site.node.key_file, site.ca_file)

    assert _echoes(port, _identity(site))
    assert _echoes(port, _identity(site), calling="NAMED")
    assert not _echoes(port, other)
    assert not _echoes(port, other, calling="NAMED")
    assert not _echoes(running.port, ())
    wait_until(lambda: len(list_audit(running.db, 10)) == 3, what="all three")
    rows = list_rejections(running.db, 10)
    assert {row.calling_ae_title: row.count for row in rows} == {CALLING: 2, "NAMED": 1}


@pytest.mark.peer("orthanc")
def test_orthanc_sends_over_mutual_tls_and_not_under_a_title_we_do_not_know(
    start_tls: StartTls, site: Site, tmp_path: Path
) -> None:
    running = start_tls(senders=(SenderSettings(ae_title="ORTHANC"),))
    node = Modality("node", CALLED, running.listener.tls_port, use_tls=True)
    tls = OrthancTls(site.pacs.certificate_file, site.pacs.key_file, site.ca_file)
    with Orthanc([node], tls=tls) as orthanc:
        for path in mr_series(tmp_path / "mr", 3):
            orthanc.upload(path)
        study = orthanc.study_id(STUDY)
        assert study is not None
        assert orthanc.send_to_modality("node", study)["FailedInstancesCount"] == 0

    with association(running.port, calling="ORTHANC") as assoc:
        assert assoc.is_established
