"""The kinds of values that settings are made of, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)


class Frozen(BaseModel):
    """Frozen, and strict about keys: a misspelt key is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_AE_TITLE = r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$"
_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
_OID = r"^[0-2](\.(0|[1-9][0-9]*))+$"

PATTERNS_IN_WORDS: Mapping[str, str] = {
    _AE_TITLE: "an AE title has 1 to 16 ASCII characters, no \\, no outer space",
    _NAME: "write a name of lower case letters, digits, - and _, at most 63",
    _DEVICE: "write auto, cpu, cuda or cuda:N",
    _OID: "write an OID such as 1.2.36.146.595.217.0.1",
}
"""What to tell instead of a regular expression."""

AeTitle = Annotated[str, StringConstraints(pattern=_AE_TITLE)]
"""An AE title (PS3.5 6.2): 1 to 16 printable ASCII characters, no backslash, no outer space."""

Name = Annotated[str, StringConstraints(pattern=_NAME)]
"""A name of our own (destination, pipeline): safe in file names, logs and metric labels."""

Device = Annotated[str, StringConstraints(pattern=_DEVICE)]
"""Where a model runs."""

Oid = Annotated[str, StringConstraints(pattern=_OID)]
"""An object identifier in dotted form."""


def is_ae_title(text: str) -> bool:
    """Whether the text is an `AeTitle`."""
    try:
        TypeAdapter(AeTitle).validate_python(text)
    except ValidationError:
        return False
    return True


def _exact_network(value: object) -> object:
    # Both kinds at once: a union would tell one mistake twice.
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        network = ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise ValueError("write a network such as 10.1.2.3/32") from None
    address = str(value).split("/")[0]
    if ip_network(address).network_address != network.network_address:
        raise ValueError(f"host bits set: write {network}")
    return network


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_exact_network)]
"""A network in CIDR form; a single address is a network of one."""

Durability = Literal["fsync", "os"]
"""How safe an instance is when it is acknowledged: on the disk, or with the operating system."""

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _plain_http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")) or "?" in value or "@" in value:
        raise ValueError("write a plain http(s) URL without user, password or query")
    if not _has_host(value):
        raise ValueError("write http(s)://host:port/path; the port is a number")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_plain_http_url)]
"""The base URL of a server, without a slash at its end."""

Outcomes = tuple[Literal["findings", "no_findings", "not_processed", "failed", "no_pipeline"], ...]
"""Which ends of a job a destination is told of; `no_pipeline`: that no pipeline took the study."""
