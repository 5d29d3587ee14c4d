"""Whom we trust to be the EHR, as the files have it at that moment; made anew when they change."""

from __future__ import annotations

import ssl
from pathlib import Path

from config.certificates import UnusableFile
from config.revocation_lists import ask_revocation_lists
from config.settings import FhirDestination
from fhir.errors import TransientFhirError

_Stamp = tuple[int, int, int]


class ServerTrust:
    """CA certificates and revocation lists of one destination."""

    def __init__(self, destination: FhirDestination) -> None:
        self._ca_file = destination.ca_file
        self._lists = destination.revocation_lists
        smart = destination.smart
        # A token endpoint that is discovered may be anywhere.
        finds_endpoint = smart.client_id is not None and smart.token_url is None
        urls = destination.base_url, smart.token_url or ""
        self._is_used = finds_endpoint or any(url.startswith("https://") for url in urls)
        self._stamps: tuple[_Stamp, ...] | None = None

    def has_changed(self) -> bool:
        """Whether the files are others than those of the last context."""
        return self._stamps != self._stamps_now()

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies always: against the system's CAs, or the site's alone.

        Raises:
            TransientFhirError: the files cannot be used; the reports wait until they can.
        """
        stamps = self._stamps_now()
        context = self._context()
        self._stamps = stamps
        return context

    def _context(self) -> ssl.SSLContext:
        if not self._is_used:
            # Never used, since no redirect is followed; trusts nobody, and spares loading the CAs.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
            ask_revocation_lists(context, self._lists)
        except OSError as error:
            text = f"ca_file cannot be used: {type(error).__name__}"
            raise TransientFhirError("ca_file", text) from None
        except UnusableFile as error:
            raise TransientFhirError("revocation_lists", str(error)) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _stamps_now(self) -> tuple[_Stamp, ...]:
        named = (self._ca_file, *self._lists)
        return tuple(_stamp(path) for path in named if path is not None)


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_ino, status.st_size
