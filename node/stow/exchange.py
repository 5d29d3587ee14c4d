"""HTTP to one DICOMweb server: the border for httpx's errors.

Redirects are not followed (they would carry login and images elsewhere), TLS is always verified,
an answer has a largest size, and an exchange a longest time.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from config.certificates import UnusableFile
from config.settings import StowDestination
from config.tls_context import client_context
from config.tls_failure import EXPLANATIONS, failure_of
from fhir.time_limit import TimeLimit
from fhir.transport import retry_after_s
from node.errors import TransientDelivery
from node.stow.multipart import MultipartBody

LONGEST_EXCHANGE: Final = 4
"""The whole exchange may last this many times `timeout_s`, which limits each single wait, and"""
LONGEST_PER_MIB_S: Final = 4
"""so many seconds more for each MiB that is sent."""
MOST_MIB: Final = 2
"""Largest answer that is read: a few hundred bytes for each of our objects."""

ACCEPT: Final = "application/dicom+json, application/dicom+xml;q=0.5, */*;q=0.1"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server has answered, whatever its status."""

    status: int
    content: bytes
    retry_after_s: float | None = None


def place(destination: StowDestination) -> str:
    """Name the destination for a person: host and port."""
    return f"the DICOMweb server {urlsplit(destination.url).netloc}"


def post_instances(destination: StowDestination, body: MultipartBody) -> HttpAnswer:
    """POST {url}/studies, over a connection of its own, with the certificates as they are now.

    Raises:
        TransientDelivery: no answer, not in time, or too large; or our files cannot be used.
        OSError: an object cannot be read.
    """
    length = body.content_length()
    limit_s = LONGEST_EXCHANGE * destination.timeout_s + LONGEST_PER_MIB_S * length / 2**20
    headers = {
        **_headers(destination, ACCEPT),
        "Content-Type": body.content_type,
        "Content-Length": str(length),
    }
    asked = _Asked("POST", "studies", headers, content=body.chunks())
    return _exchanged(destination, asked, limit_s)


def search(destination: StowDestination, path: str, parameters: Mapping[str, str]) -> HttpAnswer:
    """GET {url}/{path}: a search (QIDO-RS), as `post_instances` connects.

    Raises:
        TransientDelivery: no answer, not in time, or too large; or our files cannot be used.
    """
    headers = _headers(destination, "application/dicom+json")
    asked = _Asked("GET", path, headers, parameters=parameters)
    return _exchanged(destination, asked, LONGEST_EXCHANGE * destination.timeout_s)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, below the base URL."""

    method: str
    path: str
    headers: Mapping[str, str]
    parameters: Mapping[str, str] | None = None
    content: Iterator[bytes] | None = None


def _exchanged(destination: StowDestination, asked: _Asked, limit_s: float) -> HttpAnswer:
    with _client(destination) as client, TimeLimit(limit_s) as limit:
        request = _request(client, destination, asked)
        request.extensions["trace"] = limit.trace
        try:
            with closing(client.send(request, stream=True)) as response:
                content = _content(destination, response)
        except httpx.RequestError as error:
            raise _no_answer(destination, error, limit) from None
    if limit.is_over:
        # Where the end of the connection ends the body, a cut looks like an end.
        raise _late(destination)
    wish_s = retry_after_s(response.headers.get("Retry-After"))
    return HttpAnswer(response.status_code, content, wish_s)


def _client(destination: StowDestination) -> httpx.Client:
    return httpx.Client(
        verify=_context(destination),
        timeout=destination.timeout_s,
        follow_redirects=False,
        # Neither a proxy nor a login of this machine's environment.
        trust_env=False,
        auth=_basic(destination),
    )


def _context(destination: StowDestination) -> ssl.SSLContext:
    tls = destination.tls
    if not tls.enabled:
        # Never used, since no redirect is followed; trusts nobody, and spares loading the CAs.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return client_context(tls)
    except UnusableFile as error:
        # Whoever corrects the file need not revive each delivery.
        text = f"our TLS files for {place(destination)} cannot be used: {error}"
        raise TransientDelivery("tls_files", text) from error


def _basic(destination: StowDestination) -> httpx.BasicAuth | None:
    if destination.user is None or destination.password is None:
        return None
    return httpx.BasicAuth(destination.user, destination.password.get_secret_value())


def _headers(destination: StowDestination, accept: str) -> Mapping[str, str]:
    headers = {
        "User-Agent": "radnode",
        "Accept": accept,
        # A small answer must not grow large when it is unpacked.
        "Accept-Encoding": "identity",
    }
    if destination.bearer_token is not None:
        headers["Authorization"] = f"Bearer {destination.bearer_token.get_secret_value()}"
    return headers


def _request(client: httpx.Client, destination: StowDestination, asked: _Asked) -> httpx.Request:
    try:
        return client.build_request(
            asked.method,
            f"{destination.url}/{asked.path}",
            params=asked.parameters,
            content=asked.content,
            headers=asked.headers,
        )
    except (httpx.InvalidURL, UnicodeError):
        raise TransientDelivery("url", "url, or the login, is nothing that HTTP can send") from None


def _content(destination: StowDestination, response: httpx.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MOST_MIB * 2**20:
            text = f"the answer of {place(destination)} has more than {MOST_MIB} MiB"
            raise TransientDelivery("answer_too_large", text)
    return bytes(content)


def _no_answer(
    destination: StowDestination, error: httpx.RequestError, limit: TimeLimit
) -> TransientDelivery:
    if limit.is_over or isinstance(error, httpx.TimeoutException):
        return _late(destination)
    told = _tls_error(error)
    if told is not None:
        failure = failure_of(told)
        return TransientDelivery(failure.value, f"{place(destination)}: {EXPLANATIONS[failure]}")
    # The error's own text may quote the URL; its kind says enough.
    text = f"no answer from {place(destination)}: {type(error).__name__}"
    return TransientDelivery("connection", text)


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Find what OpenSSL said below the errors of httpx and httpcore."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _late(destination: StowDestination) -> TransientDelivery:
    return TransientDelivery("timeout", f"{place(destination)} gave no answer in time")
