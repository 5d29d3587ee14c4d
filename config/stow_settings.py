"""A PACS that takes results over HTTP: STOW-RS (PS3.18 10.5)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr, field_validator

from config.object_profile import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    ObjectProfile,
)
from config.retry_settings import RetrySettings
from config.setting_types import HttpUrl, Name, Outcomes, Seconds
from config.tls_settings import ClientTls


class StowDestination(ObjectProfile):
    """A PACS that gets its objects by STOW-RS; its answer proves that it keeps them."""

    type: Literal["stow"]
    name: Name
    url: HttpUrl
    bearer_token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    revocation_lists: tuple[Path, ...] = ()
    certificate_file: Path | None = None
    key_file: Path | None = None
    verify_host_name: bool = True
    timeout_s: Seconds = 60
    confirm: Literal["find", "none"] = "find"
    transfer_syntaxes: tuple[str, ...] = (EXPLICIT_VR_LITTLE_ENDIAN,)
    outcomes: Outcomes = ("findings", "no_findings")
    retry: RetrySettings = RetrySettings()

    @field_validator("transfer_syntaxes")
    @classmethod
    def _for_the_web(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if IMPLICIT_VR_LITTLE_ENDIAN in value:
            raise ValueError("DICOMweb has no Implicit VR (PS3.18 8.7.3.5.2): use Explicit VR")
        return value

    @property
    def tls(self) -> ClientTls:
        """How we connect: by TLS where the URL says https."""
        return ClientTls(
            enabled=self.url.startswith("https://"),
            ca_file=self.ca_file,
            revocation_lists=self.revocation_lists,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
            verify_host_name=self.verify_host_name,
        )
