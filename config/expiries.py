"""When what TLS stands on ends: certificates, and revocation lists that must be renewed in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config.certificates import (
    CertificateFiles,
    UnusableFile,
    ca_expiry,
    certificate_files,
    read_certificates,
)
from config.revocation_lists import next_update
from config.settings import Settings

_CERTIFICATE_SOON = timedelta(days=30)
_LIST_SOON = timedelta(days=1)
"""Lists are renewed every few days or weeks, mostly by a program."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a file in use ends: the setting that names it, the file, and the moment.

    It ends soon where less than `soon` is left.
    """

    key: str
    path: Path
    not_after: datetime
    soon: timedelta = _CERTIFICATE_SOON

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends; negative when it has ended."""
        return (self.not_after - now).days


def expiries(settings: Settings) -> tuple[Expiry, ...]:
    """When each certificate or list that is in use ends, the first one first.

    Of a CA file the last to end counts: it may hold retired ones beside the new. Files that
    cannot be read are left to the checks.
    """
    enabled = [files for files in certificate_files(settings) if files.is_enabled]
    found = [expiry for files in enabled for expiry in _of(files)]
    return tuple(sorted(found, key=lambda expiry: (expiry.not_after, expiry.key)))


def expiring_soon(settings: Settings, now: datetime | None = None) -> tuple[Expiry, ...]:
    """What is in use and ends soon, or has ended."""
    at = now or datetime.now(UTC)
    return tuple(expiry for expiry in expiries(settings) if expiry.not_after < at + expiry.soon)


def _of(files: CertificateFiles) -> Iterator[Expiry]:
    certificate = files.certificate_file
    named = [
        ("certificate_file", certificate, _identity_expiry, _CERTIFICATE_SOON),
        (files.ca_key, files.ca_file, ca_expiry, _CERTIFICATE_SOON),
        *((files.lists_key, path, next_update, _LIST_SOON) for path in files.revocation_lists),
    ]
    for name, path, end_of, soon in named:
        with suppress(UnusableFile):
            if path is not None and (not_after := end_of(path)) is not None:
                yield Expiry(f"{files.key}.{name}", path, not_after, soon)


def _identity_expiry(path: Path) -> datetime | None:
    return min(certificate.not_valid_after_utc for certificate in read_certificates(path))
