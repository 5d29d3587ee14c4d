"""`radnode make-revocation-list`: the revocation list of the CA that `make-certificates` made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from config.certificates import UnusableFile, read_certificates
from config.revocation_lists import read_revocation_lists
from node.certificate_maker import CLOCKS_DIFFER, Authority, existing_authority, write_file
from node.errors import CannotMakeCertificates

LIST_FILE = "ca.crl"


def made_revocation_list(folder: Path, revoked: Sequence[str], *, days: int) -> Iterator[str]:
    """Write FOLDER/ca.crl: what it held, and the certificates `revoked`; yield what to know.

    `revoked` are names of peers, as their files in the folder are called, or certificate files.
    Without any the list is renewed. It is to be renewed within `days` days.

    Raises `CannotMakeCertificates`.
    """
    path = folder.absolute() / LIST_FILE
    authority = existing_authority(folder.absolute())
    entries = {entry.serial_number: entry for entry in _former(path, authority)}
    now = datetime.now(UTC)
    for name in revoked:
        serial_number = _serial_number(folder, name, authority)
        entries.setdefault(serial_number, _entry(serial_number, now))
    made = _signed(authority, list(entries.values()), now, now + timedelta(days=days))
    try:
        write_file(path, made.public_bytes(Encoding.PEM), 0o644)
    except OSError as error:
        raise CannotMakeCertificates(f"{path} cannot be written: {error.strerror}") from None
    yield f"{len(entries)} certificates are withdrawn by {path}."
    yield "Name it under revocation_lists, beside client_ca_file and each ca_file of this CA."
    yield f"Renew it before {now + timedelta(days=days):%Y-%m-%d}: then it lets nobody in any more."


def _former(path: Path, authority: Authority) -> list[x509.RevokedCertificate]:
    if not path.exists():
        return []
    try:
        (former,) = read_revocation_lists(path)
    except (UnusableFile, ValueError):
        raise CannotMakeCertificates(f"{path} is no list that could be continued") from None
    if not former.is_signature_valid(authority.key.public_key()):
        raise CannotMakeCertificates(f"{path} is not of the CA beside it")
    return list(former)


def _serial_number(folder: Path, name: str, authority: Authority) -> int:
    beside = folder / f"{name.lower().replace(':', '_')}.pem"
    path = beside if beside.is_file() else Path(name)
    try:
        certificate = read_certificates(path)[0]
        certificate.verify_directly_issued_by(authority.certificate)
    except UnusableFile as error:
        raise CannotMakeCertificates(f"{path} {error}") from None
    except (InvalidSignature, TypeError, UnsupportedAlgorithm, ValueError):
        raise CannotMakeCertificates(f"{path} is no certificate of this CA") from None
    return certificate.serial_number


def _entry(serial_number: int, now: datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial_number)
    return builder.revocation_date(now).build()


def _signed(
    authority: Authority,
    entries: Sequence[x509.RevokedCertificate],
    now: datetime,
    next_update: datetime,
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - CLOCKS_DIFFER)
        .next_update(next_update)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        # Seconds only go up (RFC 5280 5.2.3), as the number of a list must.
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority.key, hashes.SHA256())
