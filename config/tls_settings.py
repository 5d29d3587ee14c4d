"""Settings of DICOM over TLS (PS3.15 annex B, BCP 195), in and out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from config.setting_types import Frozen

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def _plain_fingerprint(value: object) -> object:
    # `openssl x509 -fingerprint -sha256` writes `sha256 Fingerprint=AB:CD:...`.
    text = str(value).rpartition("=")[2].replace(":", "").strip().lower()
    if not _FINGERPRINT.fullmatch(text):
        raise ValueError("write the SHA-256 of the certificate: 64 hexadecimal digits")
    return text


Fingerprint = Annotated[str, BeforeValidator(_plain_fingerprint)]
"""SHA-256 of a certificate (of its DER form): lower case hexadecimal, without colons."""


class ServerTls(Frozen):
    """The TLS port of the listener."""

    enabled: bool = False
    port: Annotated[int, Field(ge=0, le=65535)] = 2762
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    require_client_certificate: bool = True
    revocation_lists: tuple[Path, ...] = ()


class ClientTls(Frozen):
    """How we connect to one peer: whom we trust, and the certificate that we show."""

    enabled: bool = False
    ca_file: Path | None = None
    revocation_lists: tuple[Path, ...] = ()
    certificate_file: Path | None = None
    key_file: Path | None = None
    verify_host_name: bool = True
    host_name: str | None = None
