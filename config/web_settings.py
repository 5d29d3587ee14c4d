"""Settings of the port from which an EHR fetches our public keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from config.setting_types import Frozen


class WebSettings(Frozen):
    """The HTTP(S) port; nothing but public keys stands there."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    host: str = "127.0.0.1"
    certificate_file: Path | None = None
    key_file: Path | None = None
    jwks_max_age_s: Annotated[int, Field(ge=0, le=86_400)] = 300
