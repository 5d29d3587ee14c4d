"""The certificate that we show an EHR (mutual TLS); renewed files are used without a restart."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from config.certificates import UnusableFile, check_identity
from config.settings import FhirDestination
from fhir.errors import TransientFhirError


class ClientCertificate:
    """Keeps a TLS context's certificate as the files have it; none where none is configured."""

    def __init__(self, destination: FhirDestination, context: ssl.SSLContext) -> None:
        self._certificate_file = destination.certificate_file
        self._key_file = destination.key_file
        self._context = context
        self._loaded: tuple[tuple[int, int], ...] = ()

    def refresh(self) -> None:
        """Load the files where they are new; connections made from now on show what they hold.

        Raises:
            TransientFhirError: they cannot be used; the reports wait until they can.
        """
        if self._certificate_file is None or self._key_file is None:
            return
        try:
            stamps = _stamp(self._certificate_file), _stamp(self._key_file)
            if stamps != self._loaded:
                check_identity(self._certificate_file, self._key_file, datetime.now(UTC))
                self._context.load_cert_chain(self._certificate_file, self._key_file)
                self._loaded = stamps
        except UnusableFile as error:
            text = f"the client certificate cannot be used: {error}"
            raise TransientFhirError("client_certificate", text) from None
        except (OSError, ValueError):
            text = "the client certificate and its key cannot be loaded"
            raise TransientFhirError("client_certificate", text) from None


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino
