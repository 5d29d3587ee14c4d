"""Certificates for the tests' nodes and peers, made by the program's own command."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from config.tls_settings import ClientTls, ServerTls
from node.certificate_maker import CertificateMaker, KeyType, MadeCertificate, PrivateKey

HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Site:
    """One CA with a certificate for the node and one for its PACS, both on this machine."""

    ca_file: Path
    node: MadeCertificate
    pacs: MadeCertificate

    def server(self, **changes: object) -> ServerTls:
        """Return the settings of a TLS port of the node that asks for certificates."""
        values = ServerTls(
            enabled=True,
            port=0,
            certificate_file=self.node.certificate_file,
            key_file=self.node.key_file,
            client_ca_file=self.ca_file,
        )
        return values.model_copy(update=changes)

    def client(self, **changes: object) -> ClientTls:
        """Return the settings with which the node calls its PACS."""
        values = ClientTls(
            enabled=True,
            certificate_file=self.node.certificate_file,
            key_file=self.node.key_file,
            ca_file=self.ca_file,
        )
        return values.model_copy(update=changes)


def make_site(folder: Path, *, key_type: KeyType = KeyType.EC) -> Site:
    """Make a CA, the node's certificate and the PACS's in a folder."""
    maker = CertificateMaker(folder, key_type=key_type)
    node = maker.make("node", HOSTS, days=90)
    pacs = maker.make("pacs", ["pacs.example", *HOSTS], days=90)
    return Site(maker.ca_file, node, pacs)


def age(certificate_file: Path, ca_folder: Path, *, days_left: int = -1) -> None:
    """Sign a certificate anew so that it ends in so many days; by default it has expired."""
    old = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    key = load_pem_private_key((ca_folder / "ca.key").read_bytes(), password=None)
    assert isinstance(key, PrivateKey)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days_left, hours=1))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    certificate_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def mutual_tls_server(site: Site) -> ssl.SSLContext:
    """TLS of a peer that asks its callers for a certificate of the site."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(site.pacs.certificate_file, site.pacs.key_file)
    tls.load_verify_locations(site.ca_file)
    tls.verify_mode = ssl.CERT_REQUIRED
    return tls
