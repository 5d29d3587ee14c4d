"""The example certificates are what both OpenSSL and the rules for keys want."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from config.certificates import UnusableFile, check_identity, read_private_key
from node.certificate_maker import CertificateMaker, KeyType
from node.errors import CannotMakeCertificates
from node.make_certificates import made_certificates
from node.revocation_list_maker import made_revocation_list
from tests.peers.certificates import age, make_site


def _verified(ca_file: Path, certificate_file: Path, purpose: str) -> bool:
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(ca_file)]
    done = subprocess.run([*command, str(certificate_file)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("key_type", list(KeyType))
def test_certificates_are_good_for_calling_and_for_being_called(
    tmp_path: Path, key_type: KeyType
) -> None:
    site = make_site(tmp_path, key_type=key_type)
    for purpose in ("sslserver", "sslclient"):
        assert _verified(site.ca_file, site.node.certificate_file, purpose)
        assert _verified(site.ca_file, site.pacs.certificate_file, purpose)
    check_identity(site.node.certificate_file, site.node.key_file, datetime.now(UTC))


def test_private_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    make_site(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")}
    assert modes == {"ca.key": 0o600, "node.key": 0o600, "pacs.key": 0o600}


def test_names_and_addresses_stand_in_the_certificate(tmp_path: Path) -> None:
    made = make_site(tmp_path).node
    certificate = x509.load_pem_x509_certificate(made.certificate_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_the_fingerprint_is_the_one_that_openssl_tells(tmp_path: Path) -> None:
    made = make_site(tmp_path).pacs
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in"]
    told = subprocess.check_output([*command, str(made.certificate_file)], text=True)
    assert told.strip().split("=")[1].replace(":", "").lower() == made.fingerprint


def test_nothing_is_overwritten_but_on_request_and_the_ca_stays(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    ca = site.ca_file.read_bytes()
    maker = CertificateMaker(tmp_path, key_type=KeyType.EC)
    with pytest.raises(CannotMakeCertificates, match="already"):
        maker.make("node", ["127.0.0.1"], days=1)

    renewed = maker.make("node", ["127.0.0.1"], days=1, renew=True)

    assert renewed.fingerprint != site.node.fingerprint
    assert site.ca_file.read_bytes() == ca
    assert _verified(site.ca_file, renewed.certificate_file, "sslserver")


def test_a_ca_whose_key_is_another_is_not_used(tmp_path: Path) -> None:
    make_site(tmp_path / "a")
    make_site(tmp_path / "b")
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(CannotMakeCertificates, match="is not the key of"):
        CertificateMaker(tmp_path / "a").make("new", ["h"], days=1)


def test_what_is_printed_names_every_file_and_the_fingerprint(tmp_path: Path) -> None:
    lines = "\n".join(
        made_certificates(
            tmp_path, ["node.example"], ["10.1.2.3"], days=9, key_type=KeyType.EC, renew=False
        )
    )
    for name in ("node.pem", "node.key", "ca.pem", "10.1.2.3.pem", "10.1.2.3.key", "ca.key"):
        assert f"{tmp_path / name}" in lines
        assert (tmp_path / name).is_file()
    assert "certificate_fingerprints" in lines


@pytest.mark.parametrize(
    ("names", "peers"),
    [
        (["../node"], []),
        (["a b"], []),
        (["node\n"], []),
        ([""], []),
        (["n"], ["../p"]),
        (["n"], ["p", "P"]),
        (["n"], ["ca"]),
        (["n"], ["node"]),
        (["x" * 65], []),
    ],
)
def test_names_that_are_no_hosts_make_nothing(
    tmp_path: Path, names: list[str], peers: list[str]
) -> None:
    with pytest.raises(CannotMakeCertificates):
        list(
            made_certificates(
                tmp_path / "new", names, peers, days=1, key_type=KeyType.EC, renew=False
            )
        )
    assert not (tmp_path / "new").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key_file = make_site(tmp_path).node.key_file
    for mode in (0o640, 0o604, 0o620):
        key_file.chmod(mode)
        with pytest.raises(UnusableFile, match="chmod 600"):
            read_private_key(key_file)


def test_a_key_with_a_passphrase_is_refused_with_what_to_do(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in"]
    subprocess.run([*command, str(site.node.key_file), "-out", str(locked)], check=True)
    locked.chmod(0o600)
    with pytest.raises(UnusableFile, match="passphrase"):
        read_private_key(locked)


def test_an_expired_certificate_is_refused_with_its_date(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    age(site.node.certificate_file, tmp_path)
    with pytest.raises(UnusableFile, match="expired on 20"):
        check_identity(site.node.certificate_file, site.node.key_file, datetime.now(UTC))
    assert ssl.PEM_cert_to_DER_cert(site.node.certificate_file.read_text())


def test_only_certificates_of_this_ca_are_withdrawn(tmp_path: Path) -> None:
    here, other = make_site(tmp_path / "here"), make_site(tmp_path / "other")
    folder = here.ca_file.parent
    for name, why in ((str(other.pacs.certificate_file), "of this CA"), ("nobody", "cannot be")):
        with pytest.raises(CannotMakeCertificates, match=why):
            list(made_revocation_list(folder, [name], days=1))
    list(made_revocation_list(other.ca_file.parent, [], days=1))
    (folder / "ca.crl").write_bytes(other.ca_file.with_suffix(".crl").read_bytes())
    with pytest.raises(CannotMakeCertificates, match="not of the CA"):
        list(made_revocation_list(folder, ["pacs"], days=1))
