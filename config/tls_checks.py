"""TLS settings that cannot work, or would protect less than they seem to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from config.certificates import (
    CertificateFiles,
    UnusableFile,
    ca_expiry,
    certificate_files,
    check_identity,
    read_certificates,
    read_private_key,
)
from config.errors import Problem
from config.revocation_lists import read_revocation_lists
from config.settings import (
    DicomDestination,
    FhirDestination,
    Hl7Destination,
    Settings,
    StowDestination,
)
from config.tls_settings import ClientTls


def _problem(key: str, value: object, message: str) -> Problem:
    return Problem(key=key, value=str(value), source="settings", message=message)


def certificates_can_be_used(settings: Settings) -> Iterable[Problem]:
    """Every certificate, key and CA file that is named can be read and fits its other half."""
    for files in certificate_files(settings):
        if files.is_enabled:
            yield from _identity_problems(files)
            if files.ca_file is not None:
                yield from _ca_problems(f"{files.key}.{files.ca_key}", files.ca_file)
            for path in files.revocation_lists:
                # One that has expired is a warning: it is renewed without a restart.
                key = f"{files.key}.{files.lists_key}"
                yield from _file_problems(key, path, read_revocation_lists)


def _identity_problems(files: CertificateFiles) -> Iterator[Problem]:
    certificate_file, key_file = files.certificate_file, files.key_file
    if certificate_file is None and key_file is None:
        return
    key = f"{files.key}.certificate_file"
    if certificate_file is None or key_file is None:
        yield _problem(key, certificate_file, "give certificate_file and key_file together")
        return
    unusable = [
        *_file_problems(key, certificate_file, read_certificates),
        *_file_problems(f"{files.key}.key_file", key_file, read_private_key),
    ]
    yield from unusable
    if not unusable:
        check = partial(check_identity, key_file=key_file, now=datetime.now(UTC))
        yield from _file_problems(key, certificate_file, check)


def _file_problems(key: str, path: Path, read: Callable[[Path], object]) -> Iterator[Problem]:
    try:
        read(path)
    except UnusableFile as error:
        yield _problem(key, path, str(error))


def _ca_problems(key: str, path: Path) -> Iterator[Problem]:
    try:
        last = ca_expiry(path)
    except UnusableFile as error:
        yield _problem(key, path, str(error))
        return
    if last is not None and last < datetime.now(UTC):
        yield _problem(key, path, f"the CA certificate expired on {last:%Y-%m-%d}: renew it")


def the_tls_port_is_whole(settings: Settings) -> Iterable[Problem]:
    """The TLS port has what it needs, and is a port of its own."""
    receive, tls = settings.receive, settings.receive.tls
    if not tls.enabled:
        if receive.port is None:
            yield _problem(
                "receive.port", "null", "no port at all: enable receive.tls, or give one"
            )
        return
    if tls.certificate_file is None and tls.key_file is None:
        text = "a TLS port needs a certificate and its key: see radnode make-certificates"
        yield _problem("receive.tls.certificate_file", "null", text)
    if tls.require_client_certificate and tls.client_ca_file is None:
        text = "name the CA that callers' certificates must come from"
        yield _problem("receive.tls.client_ca_file", "null", text)
    elif tls.revocation_lists and tls.client_ca_file is None:
        text = "nobody is asked for a certificate: name a client_ca_file, too"
        yield _problem("receive.tls.revocation_lists", tls.revocation_lists[0], text)
    if tls.port and tls.port == receive.port:
        text = "this is receive.port: give TLS a port of its own, or set receive.port null"
        yield _problem("receive.tls.port", tls.port, text)


def bound_senders_can_prove_themselves(settings: Settings) -> Iterable[Problem]:
    """A sender that is bound to certificates can come by TLS and is asked for one."""
    tls = settings.receive.tls
    if tls.enabled and tls.client_ca_file is not None:
        return
    for number, sender in enumerate(settings.receive.senders):
        if sender.certificate_fingerprints or sender.certificate_names:
            yield _problem(
                f"receive.senders[{number}]",
                sender.ae_title,
                "is bound to certificates that nobody asks for: it could never send; "
                "enable receive.tls with a client_ca_file",
            )


def tls_is_meant_where_it_is_set_up(settings: Settings) -> Iterable[Problem]:
    """Who names certificates believes that the connection is encrypted."""
    for files in certificate_files(settings):
        named = (files.certificate_file, files.key_file, files.ca_file, *files.revocation_lists)
        if any(named) and not files.is_enabled:
            switch = f"{files.key}.enabled"
            text = f"certificates are named, and TLS is off: set {switch} true"
            yield _problem(switch, "false", text)
    for number, destination in enumerate(settings.destinations):
        match destination:
            case FhirDestination():
                key, url = "base_url", destination.base_url
            case StowDestination():
                key, url = "url", destination.url
            case _:
                continue
        if destination.certificate_file is not None and not url.startswith("https://"):
            text = "no certificate is shown without TLS: use https"
            yield _problem(f"destinations[{number}].{key}", "http", text)


def peers_are_verified(settings: Settings) -> Iterable[Problem]:
    """Where the host's name is not checked, the CA must be the site's own."""
    for key, tls in _clients(settings):
        if tls.enabled and not tls.verify_host_name and tls.ca_file is None:
            text = "anybody with a public certificate could stand in for the peer: give a ca_file"
            yield _problem(f"{key}.verify_host_name", "false", text)


def _clients(settings: Settings) -> Iterator[tuple[str, ClientTls]]:
    for number, sender in enumerate(settings.receive.senders):
        yield f"receive.senders[{number}].find_tls", sender.find_tls
        yield f"receive.senders[{number}].commitment_tls", sender.commitment_tls
    for number, destination in enumerate(settings.destinations):
        if isinstance(destination, DicomDestination | Hl7Destination):
            yield f"destinations[{number}].tls", destination.tls
        elif isinstance(destination, StowDestination):
            yield f"destinations[{number}]", destination.tls
