"""Certificate revocation lists (RFC 5280 5) in files: read, judged, and given to a TLS context.

OpenSSL asks them about every certificate of a peer's chain, and turns the peer away where a list
says that one is withdrawn, where the list of one of its CAs is missing, and where that list is
past its next update: what a CA has withdrawn since then, nobody here could know.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.certificates import UnusableFile

_BEGIN = b"-----BEGIN X509 CRL-----"
_PEM = re.compile(_BEGIN + rb".*?-----END X509 CRL-----", re.DOTALL)
_NOT_READ = "holds no revocation list that can be read: give it in PEM or DER form"


def read_revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    """Return the lists of a file: one in DER form, or one or more in PEM form.

    Raises `UnusableFile`.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "unreadable"
        raise UnusableFile(f"cannot be read: {reason.lower()}") from None
    blocks = _PEM.findall(content)
    if len(blocks) < content.count(_BEGIN):
        raise UnusableFile("ends within a revocation list: it was not written wholly")
    try:
        if blocks:
            return [x509.load_pem_x509_crl(block) for block in blocks]
        return [x509.load_der_x509_crl(content)]
    except ValueError:
        raise UnusableFile(_NOT_READ) from None


def ask_revocation_lists(context: ssl.SSLContext, paths: Sequence[Path]) -> None:
    """Have `context` turn away peers whose chain has a certificate that was withdrawn.

    Without a path nothing is asked.

    Raises `UnusableFile`.
    """
    if not paths:
        return
    lists = [each for path in paths for each in _named(path)]
    try:
        # OpenSSL takes lists from a file in PEM form only; here it gets what was just read.
        with NamedTemporaryFile() as file:
            file.write(b"".join(each.public_bytes(Encoding.PEM) for each in lists))
            file.flush()
            context.load_verify_locations(cafile=file.name)
    except OSError:
        raise UnusableFile("the revocation lists cannot be loaded") from None
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _named(path: Path) -> list[x509.CertificateRevocationList]:
    try:
        return read_revocation_lists(path)
    except UnusableFile as error:
        raise UnusableFile(f"{path} {error}") from None


def next_update(path: Path) -> datetime | None:
    """When the first of the lists in a file must be renewed; None where none says so.

    Raises `UnusableFile`.
    """
    ends = [each.next_update_utc for each in read_revocation_lists(path)]
    return min((end for end in ends if end is not None), default=None)
