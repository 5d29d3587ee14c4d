"""Settings of the web port that would serve nothing, or serve it so that it proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from config.errors import Problem
from config.network_names import is_loopback
from config.settings import FhirDestination, Settings
from config.web_settings import WebSettings


def the_web_port_is_whole(settings: Settings) -> Iterable[Problem]:
    """It has keys to serve and a port of its own, and leaves the machine by TLS only."""
    web = settings.web
    if web.port is None:
        return
    if not _has_smart_keys(settings):
        text = "there is no key to serve: no destination has smart.key_files"
        yield _problem("web.port", web.port, text)
    if web.port and web.port in _receiving_ports(settings):
        yield _problem("web.port", web.port, "DICOM is received there: give it a port of its own")
    yield from _transport_problems(web)


def _transport_problems(web: WebSettings) -> Iterator[Problem]:
    # SMART App Launch 2.2: the JWKS stands at a TLS-protected URL. Who changes it on its way can
    # pass for us at the EHR.
    if web.certificate_file is None and web.key_file is None and not is_loopback(web.host):
        text = "public keys need TLS: give certificate_file and key_file, or serve a loopback host"
        yield _problem("web.certificate_file", "null", text)


def _has_smart_keys(settings: Settings) -> bool:
    return any(
        isinstance(destination, FhirDestination) and destination.smart.key_files
        for destination in settings.destinations
    )


def _receiving_ports(settings: Settings) -> set[int | None]:
    receive = settings.receive
    return {receive.port, receive.tls.port if receive.tls.enabled else None}


def _problem(key: str, value: object, message: str) -> Problem:
    return Problem(key=key, value=str(value), source="settings", message=message)
