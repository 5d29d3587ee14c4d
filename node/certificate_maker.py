"""A small certificate authority, a node's certificate and its peers', to begin with.

Each certificate serves as server's and as client's (extended key usage of RFC 5280 4.2.1.12),
since a DICOM node calls and is called. Private keys are written for their owner only (0600).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.certificates import UnusableFile, read_certificates, read_private_key
from node.errors import CannotMakeCertificates

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA_BITS = 3072
_CA_DAYS = 3650
CLOCKS_DIFFER = timedelta(hours=1)
_LONGEST_COMMON_NAME = 64


class KeyType(StrEnum):
    """Kinds of keys; old systems take RSA only."""

    RSA = "rsa"
    EC = "ec"


@dataclass(frozen=True, slots=True)
class MadeCertificate:
    """One certificate with its key; `fingerprint` is the SHA-256 of its DER form (hexadecimal)."""

    name: str
    certificate_file: Path
    key_file: Path
    fingerprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey


class CertificateMaker:
    """Makes certificates of one CA in one folder; a CA that lies there already goes on."""

    def __init__(self, folder: Path, *, key_type: KeyType = KeyType.RSA) -> None:
        self._folder = folder
        self._key_type = key_type

    @property
    def ca_file(self) -> Path:
        """The CA's certificate, which every side trusts."""
        return self._folder / "ca.pem"

    def make(
        self, stem: str, host_names: Sequence[str], *, days: int, renew: bool = False
    ) -> MadeCertificate:
        """Make `stem`.pem and `stem`.key for hosts (names or addresses), valid `days` days.

        Raises:
            CannotMakeCertificates: they are there already (and `renew` is not wanted), the CA
                in the folder cannot be used, or the folder cannot be written.
        """
        certificate_file, key_file = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        if not renew and (certificate_file.exists() or key_file.exists()):
            text = f"{certificate_file} is there already: name another folder, or renew it"
            raise CannotMakeCertificates(text)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            authority = self._authority()
            key = self._new_key()
            certificate = _signed(authority, key, host_names, days)
            write_file(key_file, _key_pem(key), 0o600)
            write_file(certificate_file, certificate.public_bytes(Encoding.PEM), 0o644)
        except OSError as error:
            text = f"{self._folder} cannot be written: {error.strerror}"
            raise CannotMakeCertificates(text) from None
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        not_after = certificate.not_valid_after_utc
        return MadeCertificate(host_names[0], certificate_file, key_file, fingerprint, not_after)

    def _authority(self) -> Authority:
        key_file = self._folder / "ca.key"
        if self.ca_file.exists() or key_file.exists():
            return existing_authority(self._folder)
        key = self._new_key()
        certificate = _self_signed(key)
        write_file(key_file, _key_pem(key), 0o600)
        write_file(self.ca_file, certificate.public_bytes(Encoding.PEM), 0o644)
        return Authority(certificate, key)

    def _new_key(self) -> PrivateKey:
        if self._key_type is KeyType.EC:
            return ec.generate_private_key(ec.SECP256R1())
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def existing_authority(folder: Path) -> Authority:
    """Return the CA that lies in a folder.

    Raises:
        CannotMakeCertificates: there is none, or none that can be used.
    """
    ca_file, key_file = folder / "ca.pem", folder / "ca.key"
    try:
        certificate, key = read_certificates(ca_file)[0], read_private_key(key_file)
    except UnusableFile as error:
        text = f"the CA in {folder} cannot be used: {error}"
        raise CannotMakeCertificates(text) from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CannotMakeCertificates(f"{key_file} is neither an RSA nor an EC key")
    if key.public_key() != certificate.public_key():
        raise CannotMakeCertificates(f"{key_file} is not the key of {ca_file}")
    return Authority(certificate, key)


def _self_signed(key: PrivateKey) -> x509.Certificate:
    now = datetime.now(UTC)
    name = _name(f"radnode CA {now:%Y-%m-%d %H:%M}")
    usage = _key_usage(signs_certificates=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, key, now, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _signed(
    authority: Authority, key: PrivateKey, host_names: Sequence[str], days: int
) -> x509.Certificate:
    issuer = authority.certificate.subject
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    ca_key, own_key = authority.key.public_key(), key.public_key()
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in host_names])
    return (
        _builder(_name(host_names[0]), issuer, key, datetime.now(UTC), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    text = common_name[:_LONGEST_COMMON_NAME]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write beside and rename: a node that reads the file meanwhile sees the old or the new."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
    beside.replace(path)
