"""HTTP to one server: the only place that knows httpx's client, and the border for its errors.

Redirects are not followed (they would carry token and report elsewhere), TLS is always verified,
an answer has a largest size, and an exchange a longest time.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Final

import httpx

from config.settings import FhirDestination
from config.tls_failure import EXPLANATIONS, failure_of
from fhir.client_certificate import ClientCertificate
from fhir.errors import FhirError, PermanentFhirError, TransientFhirError
from fhir.json_reading import Json, parse_object
from fhir.server_trust import ServerTrust
from fhir.time_limit import TimeLimit

LONGEST_EXCHANGE: Final = 4
"""The whole exchange may last this many times `timeout_s`, which limits each single wait."""
MOST_MIB: Final = 32
"""Largest answer that is read; what is asked for fits into a small part of it."""


class HttpExchange:
    """The connections to one destination's server, and to who gives its tokens."""

    def __init__(self, destination: FhirDestination) -> None:
        """Read the certificates.

        Raises:
            PermanentFhirError: CA certificates or revocation lists cannot be used.
        """
        self._destination = destination
        self._limit_s = LONGEST_EXCHANGE * destination.timeout_s
        self._trust = ServerTrust(destination)
        try:
            self._client = self._new_client()
        except TransientFhirError as error:
            raise PermanentFhirError(error.code, error.text) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(
        self,
        interaction: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> tuple[httpx.Response, Json | None]:
        """One request; the answer whatever its status, and its body where it is a JSON object.

        Raises:
            TransientFhirError: no answer, not in time, or too large. `interaction` names it.
        """
        if self._trust.has_changed():
            older, self._client = self._client, self._new_client()
            older.close()
        self._certificate.refresh()
        request = self._request(method, url, content, headers)
        with TimeLimit(self._limit_s) as limit:
            request.extensions["trace"] = limit.trace
            response, body = self._answer(interaction, request, limit)
        return response, parse_object(body)

    def _new_client(self) -> httpx.Client:
        context = self._trust.context()
        self._certificate = ClientCertificate(self._destination, context)
        return httpx.Client(
            headers={"User-Agent": "radnode"},
            timeout=self._destination.timeout_s,
            verify=context,
            follow_redirects=False,
            # A connection for each exchange, for `TimeLimit` to end.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _request(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Request:
        try:
            return self._client.build_request(method, url, content=content, headers=headers)
        except httpx.InvalidURL:
            # Whoever corrects the setting need not revive each report.
            raise TransientFhirError("base_url", "base_url is no usable URL") from None

    def _answer(
        self, interaction: str, request: httpx.Request, limit: TimeLimit
    ) -> tuple[httpx.Response, bytes]:
        try:
            response = self._client.send(request, stream=True)
            with closing(response):
                body = _body(interaction, response)
        except httpx.RequestError as error:
            raise _no_answer(interaction, error, limit) from None
        if limit.is_over:
            # Where the end of the connection ends the body, a cut looks like an end.
            raise _late(interaction)
        return response, body


def _body(interaction: str, response: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MOST_MIB * 2**20:
            text = f"{interaction}: the answer has more than {MOST_MIB} MiB"
            raise TransientFhirError("answer_too_large", text)
    return bytes(body)


def _no_answer(interaction: str, error: httpx.RequestError, limit: TimeLimit) -> FhirError:
    if limit.is_over or isinstance(error, httpx.TimeoutException):
        return _late(interaction)
    told = _tls_error(error)
    if told is not None:
        text = f"{interaction}: {EXPLANATIONS[failure_of(told)]}"
        return TransientFhirError("connection", text)
    # The error's own text may quote the URL; its kind says enough.
    return TransientFhirError("connection", f"{interaction}: {type(error).__name__}")


def _late(interaction: str) -> TransientFhirError:
    return TransientFhirError("timeout", f"{interaction}: no answer in time")


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Find what OpenSSL said below the errors of httpx and httpcore."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
