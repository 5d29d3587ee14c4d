"""Certificates and private keys in files (PEM): read, compared, and judged before they are used."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE, S_IRWXG, S_IRWXO

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from config.settings import (
    DicomDestination,
    FhirDestination,
    Hl7Destination,
    Settings,
    StowDestination,
)
from config.tls_settings import ClientTls


class UnusableFile(Exception):
    """A file of certificates or a key cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files of one end of TLS and the settings that name them, such as `receive.tls`."""

    key: str
    certificate_file: Path | None
    key_file: Path | None
    ca_file: Path | None
    ca_key: str = "ca_file"
    is_enabled: bool = True
    revocation_lists: tuple[Path, ...] = ()
    lists_key: str = "revocation_lists"


def certificate_files(settings: Settings) -> Iterator[CertificateFiles]:
    """Every place in the settings that names certificates, whether it is enabled or not."""
    tls = settings.receive.tls
    yield CertificateFiles(
        "receive.tls",
        tls.certificate_file,
        tls.key_file,
        tls.client_ca_file,
        "client_ca_file",
        tls.enabled,
        tls.revocation_lists,
    )
    for number, sender in enumerate(settings.receive.senders):
        key = f"receive.senders[{number}]"
        yield _of_client(f"{key}.find_tls", sender.find_tls)
        yield _of_client(f"{key}.commitment_tls", sender.commitment_tls)
        yield CertificateFiles(
            key,
            None,
            None,
            sender.qido_ca_file,
            "qido_ca_file",
            revocation_lists=sender.qido_revocation_lists,
            lists_key="qido_revocation_lists",
        )
    for number, destination in enumerate(settings.destinations):
        key = f"destinations[{number}]"
        if isinstance(destination, FhirDestination | StowDestination):
            identity = destination.certificate_file, destination.key_file
            lists = destination.revocation_lists
            yield CertificateFiles(key, *identity, destination.ca_file, revocation_lists=lists)
        elif isinstance(destination, DicomDestination | Hl7Destination):
            yield _of_client(f"{key}.tls", destination.tls)
    web = settings.web
    yield CertificateFiles("web", web.certificate_file, web.key_file, None)


def _of_client(key: str, tls: ClientTls) -> CertificateFiles:
    return CertificateFiles(
        key,
        tls.certificate_file,
        tls.key_file,
        tls.ca_file,
        is_enabled=tls.enabled,
        revocation_lists=tls.revocation_lists,
    )


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, in their order.

    Raises `UnusableFile`.
    """
    pem = _contents(path)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UnusableFile("holds no certificate that can be read: give it in PEM form") from None


def read_private_key(path: Path) -> PrivateKeyTypes:
    """Return the private key of a PEM file that nobody but its owner can read.

    Raises `UnusableFile`.
    """
    pem = _contents(path)
    mode = S_IMODE(path.stat().st_mode)
    if mode & (S_IRWXG | S_IRWXO):
        raise UnusableFile(f"others can read this private key (mode {mode:04o}): chmod 600 it")
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise UnusableFile(
            "the private key has a passphrase, which nobody could enter: give it without one "
            "(openssl pkey -in KEY -out NEW), mode 0600"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableFile("holds no private key that can be read: give it in PEM form") from None


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "unreadable"
        raise UnusableFile(f"cannot be read: {reason.lower()}") from None


def check_identity(certificate_file: Path, key_file: Path, now: datetime) -> None:
    """Judge a certificate (the first of its file) and its private key together.

    Raises `UnusableFile`: not readable, not of each other, not valid at `now`.
    """
    certificate = read_certificates(certificate_file)[0]
    if now > certificate.not_valid_after_utc:
        raise UnusableFile(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}: renew it")
    if now < certificate.not_valid_before_utc:
        starts = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise UnusableFile(f"not valid before {starts}: wait, or set this machine's clock")
    key = read_private_key(key_file)
    if _spki(certificate.public_key) != _spki(key.public_key):
        raise UnusableFile(f"is not the certificate of the key in {key_file}")


def _spki(public_key: Callable[[], object]) -> bytes:
    encoded: bytes = public_key().public_bytes(  # type: ignore[attr-defined]
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def ca_expiry(path: Path) -> datetime | None:
    """When the last of the CA certificates in a PEM file ends; None where none is marked as a CA.

    OpenSSL reads them, since it is who will use them: public collections hold odd old ones.

    Raises `UnusableFile`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, ValueError):  # an SSLError is an OSError, with texts of its own
        raise UnusableFile("holds no certificate: give CA certificates in PEM form") from None
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise UnusableFile(f"cannot be read: {reason}") from None
    ends = [ssl.cert_time_to_seconds(str(ca["notAfter"])) for ca in context.get_ca_certs()]
    return datetime.fromtimestamp(max(ends), UTC) if ends else None
