"""SMART Backend Services settings that could never get a token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from config.certificates import UnusableFile, read_private_key
from config.errors import Problem
from config.network_names import is_loopback
from config.settings import FhirDestination, Settings, SmartBackend


def smart_keys_can_be_used(settings: Settings) -> Iterable[Problem]:
    """Who has a client id has a key, a safe place to ask, and no second way to prove who it is."""
    for number, destination in enumerate(settings.destinations):
        if not isinstance(destination, FhirDestination):
            continue
        key = f"destinations[{number}].smart"
        if destination.smart.client_id is None:
            if destination.smart.key_files:
                yield _problem(f"{key}.client_id", "null", "key_files are given: name the client")
            continue
        yield from _problems(key, destination.smart)
        if destination.bearer_token is not None:
            text = "SMART gets its own token: leave bearer_token out"
            yield _problem(f"destinations[{number}].bearer_token", "***", text)


def _problems(key: str, smart: SmartBackend) -> Iterator[Problem]:
    if not smart.key_files:
        yield _problem(f"{key}.key_files", "[]", "name the key that signs")
    for place, path in enumerate(smart.key_files):
        try:
            read_private_key(path)
        except UnusableFile as error:
            yield _problem(f"{key}.key_files[{place}]", path, str(error))
    url = urlsplit(smart.token_url or "https://discovered")
    if url.scheme != "https" and not is_loopback(url.hostname or ""):
        yield _problem(f"{key}.token_url", url.hostname, "a token in clear text: use https")


def _problem(key: str, value: object, message: str) -> Problem:
    return Problem(key=key, value=str(value), source="settings", message=message)
