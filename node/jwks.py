"""`radnode jwks`: the public keys that an EHR knows this node by."""

from __future__ import annotations

import json
from pathlib import Path

from config.certificates import UnusableFile
from config.settings import FhirDestination, Settings
from fhir.smart_key import key_set
from node.errors import CannotStart


def jwks_json(settings: Settings) -> str:
    """Return the JWKS (RFC 7517) of the keys of all SMART destinations, as indented JSON.

    Raises `CannotStart`: there is no such key, or one cannot be used.
    """
    paths = key_files(settings)
    if not paths:
        raise CannotStart("no destination has smart.key_files: there is no key to publish")
    for path in paths:
        try:
            key_set([path])
        except UnusableFile as error:
            raise CannotStart(f"{path}: {error}") from None
    return json.dumps(key_set(paths), indent=2)


def key_files(settings: Settings) -> list[Path]:
    """The private keys of all SMART destinations, in the order of the settings."""
    return [
        path
        for destination in settings.destinations
        if isinstance(destination, FhirDestination)
        for path in destination.smart.key_files
    ]
