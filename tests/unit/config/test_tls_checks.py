"""TLS settings that cannot work, or protect less than they seem to, are refused with a remedy."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.certificates import UnusableFile
from config.checks import unsafe_combinations
from config.expiries import expiring_soon
from config.settings import Settings
from config.tls_context import client_context
from node.revocation_list_maker import made_revocation_list
from tests.peers.certificates import Site, age, make_site

PACS: dict[str, Any] = {"ae_title": "PACS", "addresses": ["10.1.2.3/32"]}
FINGERPRINT = "ab" * 32


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def _server(site: Site, **changes: Any) -> dict[str, Any]:
    return {**site.server(port=2762).model_dump(), **changes}


def _received(tls: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"receive": {"host": "0.0.0.0", "senders": [PACS], "tls": tls, **changes}}


def _sent(tls: dict[str, Any]) -> dict[str, Any]:
    pacs = {"type": "dicom", "name": "p", "host": "h", "port": 104, "ae_title": "P", "tls": tls}
    return {"receive": {"senders": [PACS]}, "destinations": [pacs]}


def _ehr(**files: Any) -> dict[str, Any]:
    values = {"type": "fhir", "name": "ehr", "base_url": "https://ehr.example/fhir", **files}
    return {"receive": {"senders": [PACS]}, "destinations": [values]}


def _problem(values: dict[str, Any]) -> str:
    (problem,) = unsafe_combinations(Settings.model_validate(values))
    return str(problem)


def _is_fine(values: dict[str, Any]) -> bool:
    return unsafe_combinations(Settings.model_validate(values)) == ()


def test_mutual_tls_is_no_problem_in_and_out(shared_site: Site) -> None:
    client = shared_site.client().model_dump()
    files = {name: client[name] for name in ("ca_file", "certificate_file", "key_file")}
    assert _is_fine(_received(_server(shared_site)))
    assert _is_fine(_received(_server(shared_site), port=None))
    assert _is_fine(_sent(client))
    assert _is_fine(_ehr(**files))


def test_a_port_without_certificate_cannot_be_opened() -> None:
    tls = {"enabled": True, "require_client_certificate": False}
    assert "make-certificates" in _problem(_received(tls))


def test_callers_certificates_need_a_ca_to_be_verified_with(shared_site: Site) -> None:
    problem = _problem(_received(_server(shared_site, client_ca_file=None)))
    assert "receive.tls.client_ca_file = null" in problem


def test_certificate_and_key_come_together(shared_site: Site) -> None:
    assert "together" in _problem(_received(_server(shared_site, key_file=None)))
    assert "together" in _problem(_ehr(key_file=shared_site.node.key_file))


def test_a_key_of_another_certificate_is_named(shared_site: Site) -> None:
    problem = _problem(_received(_server(shared_site, key_file=shared_site.pacs.key_file)))
    assert f"is not the certificate of the key in {shared_site.pacs.key_file}" in problem


def test_an_expired_certificate_is_refused_in_and_out(site: Site, tmp_path: Path) -> None:
    age(site.node.certificate_file, tmp_path / "site")
    received = _problem(_received(_server(site)))
    assert received.startswith("settings: receive.tls.certificate_file")
    assert "expired on" in received
    assert "destinations[0].tls.certificate_file" in _problem(_sent(site.client().model_dump()))


def test_each_file_that_is_not_there_is_told(shared_site: Site) -> None:
    none = Path("no/such/file.pem")
    files = {"certificate_file": none, "key_file": none, "client_ca_file": none}

    settings = Settings.model_validate(_received(_server(shared_site, **files)))

    told = {problem.key for problem in unsafe_combinations(settings)}
    assert told == {f"receive.tls.{name}" for name in files}


def test_whoever_connects_is_told_which_certificate_has_expired(site: Site, tmp_path: Path) -> None:
    age(site.node.certificate_file, tmp_path / "site")
    with pytest.raises(UnusableFile, match=f"{site.node.certificate_file} .*: expired on"):
        client_context(site.client())


def test_a_key_that_others_can_read_is_refused(site: Site) -> None:
    site.node.key_file.chmod(0o640)
    problem = _problem(_received(_server(site)))
    assert "receive.tls.key_file" in problem
    assert "mode 0640" in problem
    assert "chmod 600" in problem


@pytest.mark.parametrize("name", ["certificate_file", "key_file", "client_ca_file"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAA\n", b"\xff\0"])
def test_a_file_that_is_missing_or_no_pem_is_named(
    site: Site, tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / "other.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    problem = _problem(_received(_server(site, **{name: path})))
    assert f"receive.tls.{name} = {path}" in problem
    assert ("cannot be read: no such file" if content is None else "holds no") in problem


def test_a_key_with_a_passphrase_is_refused_with_a_remedy(site: Site, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", str(site.node.key_file)]
    subprocess.run([*command, "-out", str(locked)], check=True)
    assert "openssl pkey" in _problem(_received(_server(site, key_file=locked)))


def test_two_ports_cannot_be_one(shared_site: Site) -> None:
    problem = _problem(_received(_server(shared_site, port=104), port=104))
    assert "receive.tls.port = 104" in problem


def test_a_node_listens_somewhere() -> None:
    assert "no port at all" in _problem({"receive": {"senders": [PACS], "port": None}})


def test_tls_that_is_set_up_and_off_is_a_mistake(shared_site: Site) -> None:
    off = {**shared_site.client().model_dump(), "enabled": False}
    assert "destinations[0].tls.enabled" in _problem(_sent(off))
    assert "receive.tls.enabled" in _problem(_received(_server(shared_site, enabled=False)))


def test_a_client_certificate_without_https_is_a_mistake(shared_site: Site) -> None:
    files = {
        "certificate_file": shared_site.node.certificate_file,
        "key_file": shared_site.node.key_file,
    }
    assert "use https" in _problem(_ehr(**files, base_url="http://127.0.0.1/fhir"))
    web = {"type": "stow", "name": "web", "url": "http://127.0.0.1/dicom-web", **files}
    values = {"receive": {"senders": [PACS]}, "destinations": [web]}
    assert "destinations[0].url" in _problem(values)


def test_without_the_hosts_name_the_ca_must_be_the_sites_own(shared_site: Site) -> None:
    tls = shared_site.client(verify_host_name=False)
    assert _is_fine(_sent(tls.model_dump()))
    public = tls.model_copy(update={"ca_file": None})
    assert "give a ca_file" in _problem(_sent(public.model_dump()))


def test_encryption_without_certificates_of_callers_needs_their_addresses(
    shared_site: Site,
) -> None:
    open_tls = _server(shared_site, client_ca_file=None, require_client_certificate=False)
    assert _is_fine(_received(open_tls))
    problem = _problem(_received(open_tls, senders=[{"ae_title": "PACS"}]))
    assert "receive.senders[0].addresses" in problem


def test_a_sender_bound_to_its_certificate_needs_no_address(shared_site: Site) -> None:
    bound = {"ae_title": "PACS", "certificate_fingerprints": [FINGERPRINT]}
    named = {"ae_title": "CT", "certificate_names": ["ct.example"]}
    assert _is_fine(_received(_server(shared_site), senders=[bound, named]))


def test_a_sender_cannot_be_bound_to_a_certificate_that_nobody_asks_for(
    shared_site: Site,
) -> None:
    bound = {**PACS, "certificate_fingerprints": [FINGERPRINT]}
    assert "could never send" in _problem({"receive": {"host": "::", "senders": [bound]}})
    open_tls = _server(shared_site, client_ca_file=None, require_client_certificate=False)
    assert "could never send" in _problem(_received(open_tls, senders=[bound]))


@pytest.mark.parametrize(
    "written",
    [FINGERPRINT, FINGERPRINT.upper(), "sha256 Fingerprint=" + ":".join(["AB"] * 32)],
    ids=["plain", "upper", "openssl"],
)
def test_a_fingerprint_may_be_written_as_openssl_tells_it(written: str) -> None:
    settings = Settings.model_validate(
        {"receive": {"senders": [{**PACS, "certificate_fingerprints": [written]}]}}
    )
    assert settings.receive.senders[0].certificate_fingerprints == (FINGERPRINT,)


def test_certificates_that_end_within_30_days_are_told_soonest_first(
    site: Site, tmp_path: Path
) -> None:
    tls = site.client().model_dump()
    settings = Settings.model_validate({**_sent(tls), **_received(_server(site))})
    assert expiring_soon(settings) == ()
    age(site.node.certificate_file, tmp_path / "site", days_left=12)

    told = expiring_soon(settings)

    now = datetime.now(UTC)
    assert [(expiry.key, expiry.days_left(now)) for expiry in told] == [
        ("destinations[0].tls.certificate_file", 12),
        ("receive.tls.certificate_file", 12),
    ]
    later = expiring_soon(settings, now + timedelta(days=3650 - 10))
    assert {expiry.key for expiry in later} > {"receive.tls.client_ca_file"}


def test_revocation_lists_that_cannot_be_read_are_told_wherever_they_stand(
    shared_site: Site, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.crl"
    cut.write_text("-----BEGIN X509 CRL-----\nMIIB")
    missing, other = tmp_path / "missing", shared_site.ca_file
    client = shared_site.client().model_dump()
    assert "not written wholly" in _problem(_received(_server(shared_site, revocation_lists=[cut])))
    assert "no such file" in _problem(_sent({**client, "revocation_lists": [missing]}))
    assert "holds no revocation list" in _problem(_ehr(revocation_lists=[other]))


def test_revocation_lists_that_nobody_would_be_asked_by_are_told(shared_site: Site) -> None:
    lists = [_list_of(shared_site)]
    server = _server(shared_site, revocation_lists=lists)
    open_door = {**server, "client_ca_file": None, "require_client_certificate": False}
    assert "nobody is asked for a certificate" in _problem(_received(open_door))
    assert "TLS is off" in _problem(_received({**server, "enabled": False}))
    assert _is_fine(_received(server))


def test_a_list_that_must_be_renewed_within_a_day_is_told_and_no_reason_not_to_start(
    site: Site,
) -> None:
    values = _received(_server(site, revocation_lists=[_list_of(site)]))
    settings = Settings.model_validate(values)
    assert expiring_soon(settings) == ()
    told = expiring_soon(settings, datetime.now(UTC) + timedelta(days=1.5))
    assert [expiry.key for expiry in told] == ["receive.tls.revocation_lists"]


def _list_of(site: Site) -> Path:
    list(made_revocation_list(site.ca_file.parent, [], days=2))
    return site.ca_file.with_suffix(".crl")
