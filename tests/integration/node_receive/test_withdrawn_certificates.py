"""A certificate that its CA has withdrawn opens nothing, in or out; real peers show it."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from config.settings import DicomDestination
from config.tls_context import client_context, server_context
from config.tls_failure import failure_of
from config.tls_settings import ClientTls, ServerTls
from node.errors import TransientDelivery
from node.revocation_list_maker import made_revocation_list
from node.scu import store_objects
from storage.rejections import list_rejections
from tests.integration.node_receive.result_files import result_files
from tests.integration.node_receive.running_listener import (
    CALLED,
    CALLING,
    Running,
    StartListener,
    receive_settings,
)
from tests.peers.certificates import Site, make_site
from tests.peers.dcmtk import StoreScp, echoscu, tls_options
from tests.peers.openssl_ca import OpensslCa
from tests.peers.ports import wait_until

YESTERDAY = ("-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


@pytest.fixture
def ca(site: Site) -> OpensslCa:
    return OpensslCa(site.ca_file.parent)


@pytest.fixture
def start(start_listener: StartListener, site: Site) -> Callable[..., Running]:
    def started(*lists: Path) -> Running:
        return start_listener(receive_settings(tls=site.server(revocation_lists=lists)))

    return started


def _comes_in(running: Running, site: Site) -> bool:
    pacs = tls_options(site.pacs.certificate_file, site.pacs.key_file, site.ca_file)
    done = echoscu(running.listener.tls_port, calling=CALLING, called=CALLED, options=pacs)
    return done.returncode == 0


def _reasons(running: Running) -> set[str]:
    rows = wait_until(lambda: list_rejections(running.db, 100), what="a counted rejection")
    return {row.reason for row in rows}


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_a_withdrawn_certificate_is_turned_away_from_the_next_connection_on(
    start: Callable[..., Running], site: Site, ca: OpensslCa, tmp_path: Path, form: str
) -> None:
    running = start(path := ca.write_list(tmp_path / "ca.crl", form=form))
    assert _comes_in(running, site)
    ca.withdraw(site.pacs.certificate_file)
    ca.write_list(path, form=form)
    assert not _comes_in(running, site)
    assert _reasons(running) == {"tls_certificate_revoked"}


@pytest.mark.peer("dcmtk")
def test_a_list_that_is_past_its_next_update_lets_nobody_in(
    start: Callable[..., Running], site: Site, ca: OpensslCa, tmp_path: Path
) -> None:
    running = start(path := ca.write_list(tmp_path / "ca.crl", *YESTERDAY))
    assert not _comes_in(running, site)
    assert _reasons(running) == {"tls_revocation_list_expired"}
    ca.write_list(path)
    assert _comes_in(running, site)


@pytest.mark.peer("dcmtk")
def test_the_list_of_another_ca_lets_nobody_in(
    start: Callable[..., Running], site: Site, tmp_path: Path
) -> None:
    other = make_site(tmp_path / "other")
    running = start(OpensslCa(other.ca_file.parent).write_list(tmp_path / "other.crl"))
    assert not _comes_in(running, site)
    assert _reasons(running) == {"tls_revocation_list_missing"}


@pytest.mark.peer("dcmtk")
def test_a_list_that_is_half_written_leaves_the_last_good_one_in_use(
    start: Callable[..., Running], site: Site, ca: OpensslCa, tmp_path: Path
) -> None:
    ca.withdraw(site.pacs.certificate_file)
    running = start(path := ca.write_list(tmp_path / "ca.crl"))
    path.write_bytes(path.read_bytes()[:-40])
    assert not _comes_in(running, site)
    assert _reasons(running) == {"tls_certificate_revoked"}


def test_a_session_from_before_the_withdrawal_is_not_resumed(
    start: Callable[..., Running], site: Site, ca: OpensslCa, tmp_path: Path
) -> None:
    running = start(path := ca.write_list(tmp_path / "ca.crl"))
    session = tmp_path / "session.pem"
    assert "Verify return code: 0" in _openssl(running, site, "-sess_out", str(session))
    ca.withdraw(site.pacs.certificate_file)
    ca.write_list(path)
    assert "alert certificate revoked" in _openssl(running, site, "-sess_in", str(session))


def _openssl(running: Running, site: Site, *options: str) -> str:
    address = f"127.0.0.1:{running.listener.tls_port}"
    certificate, key, ca = site.pacs.certificate_file, site.pacs.key_file, site.ca_file
    files = ["-cert", str(certificate), "-key", str(key), "-CAfile", str(ca)]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", address, "-tls1_2", *files, *options],
        input=b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.peer("dcmtk")
def test_a_pacs_whose_certificate_was_withdrawn_gets_no_results(
    site: Site, ca: OpensslCa, tmp_path: Path
) -> None:
    ca.withdraw(site.pacs.certificate_file)
    tls = site.client(revocation_lists=(ca.write_list(tmp_path / "ca.crl"),))
    identity = tls_options(site.pacs.certificate_file, site.pacs.key_file, site.ca_file)
    with StoreScp(tmp_path / "in", options=identity) as scp:
        known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "port": scp.port}
        destination = DicomDestination.model_validate({**known, "ae_title": "SCP", "tls": tls})
        with pytest.raises(TransientDelivery) as caught:
            store_objects(destination, "RADNODE", result_files(tmp_path))
        assert scp.files() == []
    assert caught.value.code == "tls_certificate_revoked"
    assert "withdrawn" in caught.value.text


@pytest.mark.peer("dcmtk")
def test_the_commands_own_list_grows_and_is_renewed(
    start: Callable[..., Running], site: Site
) -> None:
    folder = site.ca_file.parent
    list(made_revocation_list(folder, [], days=1))
    running = start(folder / "ca.crl")
    assert _comes_in(running, site)
    list(made_revocation_list(folder, ["PACS"], days=1))
    assert not _comes_in(running, site)
    first, *_ = made_revocation_list(folder, [str(site.node.certificate_file)], days=1)
    assert first.startswith("2 certificates")
    told = subprocess.check_output(
        ["openssl", "crl", "-in", folder / "ca.crl", "-CAfile", site.ca_file, "-noout"],
        stderr=subprocess.STDOUT,
    )
    assert told == b"verify OK\n"


def test_a_withdrawn_ca_between_takes_its_certificates_with_it(tmp_path: Path) -> None:
    root, between, leaf = (tmp_path / name for name in ("root", "between", "leaf"))
    _issue(root, None, "CA:TRUE")
    _issue(between, root, "CA:TRUE")
    _issue(leaf, between, "CA:FALSE")
    chain = tmp_path / "chain.pem"
    chain.write_bytes((leaf / "ca.pem").read_bytes() + (between / "ca.pem").read_bytes())
    ca = OpensslCa(root)
    of_root = ca.write_list(tmp_path / "root.crl")
    of_between = OpensslCa(between).write_list(tmp_path / "between.crl")
    server = ServerTls(
        certificate_file=chain, key_file=leaf / "ca.key", require_client_certificate=False
    )
    trust = ClientTls(ca_file=root / "ca.pem", verify_host_name=False)

    def told(*lists: Path) -> str:
        return _handshake(server, trust.model_copy(update={"revocation_lists": lists}))

    assert told() == told(of_root, of_between) == "trusted"
    assert told(of_between) == "tls_revocation_list_missing"
    ca.withdraw(between / "ca.pem")
    ca.write_list(of_root)
    assert told(of_root, of_between) == "tls_certificate_revoked"


def _issue(folder: Path, issuer: Path | None, constraints: str) -> None:
    """Make a key and a certificate, as `ca.key` and `ca.pem`, of the CA in `issuer`."""
    folder.mkdir()
    files = ["-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    signer = ["-CA", f"{issuer}/ca.pem", "-CAkey", f"{issuer}/ca.key"] if issuer else []
    named = ["-subj", f"/CN={folder.name}", "-addext", f"basicConstraints=critical,{constraints}"]
    command = ["openssl", "req", "-x509", *kind, *files, *signer, *named]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "ca.key").chmod(0o600)


def _handshake(server: ServerTls, client: ClientTls) -> str:
    """Let both sides of TLS talk in memory; return what the client makes of the server."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client_context(client).wrap_bio(back, there)
    other = server_context(server).wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (one, other):
            with suppress(ssl.SSLWantReadError):
                try:
                    side.do_handshake()
                except ssl.SSLCertVerificationError as error:
                    return failure_of(error)
    return "trusted"
