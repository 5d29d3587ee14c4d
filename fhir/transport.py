"""HTTP to one FHIR server: the only place that knows httpx, and the border for its errors.

URLs hold the base, a resource type and nothing else: searches are `POST [type]/_search`, so that
no identifier stands in a URL, in a proxy's log or in an access log. Redirects are not followed
(they would carry the token and the report elsewhere) and TLS is always verified.

What a status means: only a 4xx to the transaction or create itself is a verdict on this report, and
for good. Trouble on the way (a login, a moved or missing address, a gateway) and every refusal of
`metadata` or a search would meet any other report as well, and pass: the delivery waits.
"""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Self

import httpx

from config.settings import FhirDestination
from fhir.client_certificate import ClientCertificate
from fhir.errors import FhirError, PermanentFhirError, TransientFhirError
from fhir.json_reading import Json, parse_object
from fhir.operation_outcome import summary
from fhir.places import made_place
from fhir.time_limit import TimeLimit

FHIR_JSON: Final = "application/fhir+json"
FORM: Final = "application/x-www-form-urlencoded"

LONGEST_EXCHANGE: Final = 4
"""The whole exchange may last this many times `timeout_s`, which limits each single wait."""
MOST_MIB: Final = 32
"""Largest answer that is read; what is asked for fits into a small part of it."""

_TRANSACTION: Final = "transaction"
_CREATE: Final = "create of"
_CLIENT_ERRORS: Final = range(400, 500)
_ON_THE_WAY: Final = frozenset((401, 403, 404, 405, 407, 408, 421, 425, 429))
"""4xx that tell of access, address or haste, and never of what was sent."""


class FhirTransport:
    """One server; use as a context manager, or `close` it."""

    def __init__(self, destination: FhirDestination) -> None:
        self._base_url = destination.base_url
        self._limit_s = LONGEST_EXCHANGE * destination.timeout_s
        context = _tls_context(destination)
        self._certificate = ClientCertificate(destination, context)
        self._client = httpx.Client(
            headers=_headers(destination),
            timeout=destination.timeout_s,
            verify=context,
            follow_redirects=False,
            # A connection for each exchange, for `TimeLimit` to end.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read_metadata(self) -> Json:
        """GET [base]/metadata: the CapabilityStatement."""
        return self._exchange("metadata", "GET", "/metadata")

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> Json:
        """POST [base]/[type]/_search: the searchset Bundle."""
        path = f"/{resource_type}/_search"
        form = httpx.QueryParams(dict(parameters))
        content = str(form).encode("ascii")
        return self._exchange(f"search for {resource_type}", "POST", path, content, FORM)

    def transaction(self, bundle: str) -> Json:
        """POST [base]: the transaction-response Bundle."""
        return self._exchange(_TRANSACTION, "POST", "", bundle.encode(), FHIR_JSON)

    def create(self, resource_type: str, resource: Json) -> str:
        """POST [base]/[type]: `Type/id` of what was made; the answer may have no body."""
        interaction = f"{_CREATE} {resource_type}"
        content = json.dumps(resource, ensure_ascii=False).encode()
        response, body = self._send(interaction, "POST", f"/{resource_type}", content, FHIR_JSON)
        if not response.is_success:
            raise _refusal(interaction, response, body)
        return made_place(resource_type, response.headers.get("Location", ""), body or {})

    def _exchange(
        self,
        interaction: str,
        method: str,
        path: str,
        content: bytes | None = None,
        content_type: str | None = None,
    ) -> Json:
        response, body = self._send(interaction, method, path, content, content_type)
        return _accepted(interaction, response, body)

    def _send(
        self,
        interaction: str,
        method: str,
        path: str,
        content: bytes | None,
        content_type: str | None,
    ) -> tuple[httpx.Response, Json | None]:
        self._certificate.refresh()
        headers = {"Content-Type": content_type} if content_type else {}
        request = self._request(method, path, content, headers)
        with TimeLimit(self._limit_s) as limit:
            request.extensions["trace"] = limit.trace
            response, body = self._answer(interaction, request, limit)
        return response, parse_object(body)

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Request:
        url = self._base_url + path
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
    # The error's own text may quote the URL; its kind says enough.
    return TransientFhirError("connection", f"{interaction}: {type(error).__name__}")


def _late(interaction: str) -> TransientFhirError:
    return TransientFhirError("timeout", f"{interaction}: no answer in time")


def _accepted(interaction: str, response: httpx.Response, body: Json | None) -> Json:
    if not response.is_success:
        raise _refusal(interaction, response, body)
    if body is None:
        text = f"{interaction}: status {response.status_code}, but the answer is no JSON object"
        raise TransientFhirError("bad_response", text)
    return body


def _refusal(interaction: str, response: httpx.Response, body: Json | None) -> FhirError:
    status = response.status_code
    code, text = f"http_{status}", f"{interaction}: status {status}: {summary(body)}"
    is_verdict = status in _CLIENT_ERRORS and status not in _ON_THE_WAY
    is_report = interaction.startswith((_TRANSACTION, _CREATE))
    if is_report and is_verdict:
        return PermanentFhirError(code, text)
    return TransientFhirError(code, text, retry_after_s(response.headers.get("Retry-After")))


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 10.2.3: seconds or a date); None if unusable."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        seconds = float(value)
        return seconds if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())


def _headers(destination: FhirDestination) -> dict[str, str]:
    headers = {"Accept": FHIR_JSON, "User-Agent": "radnode"}
    if destination.bearer_token is not None:
        headers["Authorization"] = f"Bearer {destination.bearer_token.get_secret_value()}"
    return headers


def _tls_context(destination: FhirDestination) -> ssl.SSLContext:
    """Verifies always: against the system's CAs, or against the site's own alone."""
    if destination.base_url.startswith("http://"):
        # Never used, since no redirect is followed; trusts nobody, and spares loading the CAs.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context = ssl.create_default_context(cafile=destination.ca_file)
    except OSError as error:
        text = f"ca_file cannot be used: {type(error).__name__}"
        raise PermanentFhirError("ca_file", text) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
