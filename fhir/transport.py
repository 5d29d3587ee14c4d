"""The interactions with one FHIR server that a report needs, and what its answers mean.

URLs hold the base, a resource type and, of our own resources, the id: searches are
`POST [type]/_search`, so that no identifier stands in a URL, in a proxy's log or in an access log.

What a status means: only a 4xx to the transaction, create or update is a verdict on this report,
for good. Trouble on the way (a login, a moved or missing address, a gateway, a conflict with what
others write) and every refusal of `metadata` or a search would meet any other report as well, and
pass: the delivery waits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType, TracebackType
from typing import Final, Self

import httpx

from config.settings import FhirDestination
from fhir.authorization import authorization_for
from fhir.errors import FhirError, PermanentFhirError, TransientFhirError
from fhir.http_exchange import HttpExchange
from fhir.json_reading import Json
from fhir.operation_outcome import summary
from fhir.places import made_place

FHIR_JSON: Final = "application/fhir+json"
FORM: Final = "application/x-www-form-urlencoded"

_UNAUTHORIZED: Final = 401
_NOT_IMPLEMENTED: Final = 501
_TRANSACTION: Final = "transaction"
_CREATE: Final = "create of"
_UPDATE: Final = "update of"
_CLIENT_ERRORS: Final = range(400, 500)
_ON_THE_WAY: Final = frozenset((401, 403, 404, 405, 407, 408, 409, 421, 423, 425, 429))
"""4xx that tell of access, address, haste or others at work, and never of what was sent.

Servers answer 409 where two conditional creates meet: those of two nodes, or of ours and of its
repeat after a time-out.
"""


_CHANGED_MEANWHILE: Final = (409, 412)
"""How servers refuse an update of a version that is not the newest (R4 http.html#concurrency)."""


class FhirTransport:
    """One server; use as a context manager, or `close` it."""

    def __init__(self, destination: FhirDestination) -> None:
        self._base_url = destination.base_url
        self._exchange = HttpExchange(destination)
        self._authorization = authorization_for(destination, self._exchange)

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
        self._exchange.close()

    def read_metadata(self) -> Json:
        """GET [base]/metadata: the CapabilityStatement."""
        return self._accepted("metadata", "GET", "/metadata")

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> Json:
        """POST [base]/[type]/_search: the searchset Bundle."""
        path = f"/{resource_type}/_search"
        form = httpx.QueryParams(dict(parameters))
        content = str(form).encode("ascii")
        return self._accepted(f"search for {resource_type}", "POST", path, content, FORM)

    def transaction(self, bundle: str, *, is_guarded: bool = False) -> Json:
        """POST [base]: the transaction-response Bundle; `is_guarded`: an entry has `ifMatch`."""
        response, body = self._send(_TRANSACTION, "POST", "", bundle.encode(), FHIR_JSON)
        if is_guarded:
            _check_version(_TRANSACTION, response, body)
        return _accepted(_TRANSACTION, response, body)

    def create(self, resource_type: str, resource: Json, if_none_exist: str = "") -> str:
        """POST [base]/[type]: `Type/id` of what was made; the answer may have no body.

        What `if_none_exist`, a search, finds is not made again: an earlier try may still be in the
        server's hands, where no search has found it yet. A server that knows no such condition, and
        says so, is asked without.
        """
        interaction, path = f"{_CREATE} {resource_type}", f"/{resource_type}"
        content = json.dumps(resource, ensure_ascii=False).encode()
        guard = {"If-None-Exist": if_none_exist} if if_none_exist else {}
        response, body = self._send(interaction, "POST", path, content, FHIR_JSON, guard)
        if guard and response.status_code == _NOT_IMPLEMENTED:
            response, body = self._send(interaction, "POST", path, content, FHIR_JSON)
        if not response.is_success:
            raise _refusal(interaction, response, body)
        return made_place(resource_type, response.headers.get("Location", ""), body or {})

    def update(self, resource_type: str, resource: Json, if_match: str = "") -> str:
        """PUT [base]/[type]/[id] of a resource of ours: its `Type/id`.

        `if_match` is the entity tag of the version that it shall replace; "" for any.
        """
        interaction, place = f"{_UPDATE} {resource_type}", f"{resource_type}/{resource['id']}"
        content = json.dumps(resource, ensure_ascii=False).encode()
        guard = {"If-Match": if_match} if if_match else {}
        response, body = self._send(interaction, "PUT", f"/{place}", content, FHIR_JSON, guard)
        if if_match:
            _check_version(interaction, response, body)
        if not response.is_success:
            raise _refusal(interaction, response, body)
        return place

    def _accepted(
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
        more_headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[httpx.Response, Json | None]:
        """One exchange; a token that is not taken any more is renewed once."""
        for is_last in (False, True):
            headers = {"Accept": FHIR_JSON, **more_headers, **self._authorization.headers()}
            if content_type:
                headers["Content-Type"] = content_type
            url = self._base_url + path
            response, body = self._exchange.send(interaction, method, url, headers, content)
            is_refused = response.status_code == _UNAUTHORIZED
            if is_last or not is_refused or not self._authorization.renew():
                break
        return response, body


def _check_version(interaction: str, response: httpx.Response, body: Json | None) -> None:
    """Somebody else was faster: no verdict on this report, the next try starts from theirs."""
    status, told = response.status_code, summary(body)
    # A condition that fits several resources is 412, too, and does not pass.
    if status in _CHANGED_MEANWHILE and "multiple-matches" not in told:
        text = f"{interaction}: status {status}: {told}: it was changed there meanwhile"
        raise TransientFhirError("changed_meanwhile", text)


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
    is_report = interaction.startswith((_TRANSACTION, _CREATE, _UPDATE))
    if is_report and is_verdict:
        return PermanentFhirError(code, text)
    return TransientFhirError(code, text, retry_after_s(response.headers.get("Retry-After")))


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 10.2.3: seconds or a date); None if unusable."""
    if value is None:
        return None
    # A field's own blanks alone (RFC 9110 5.6.3): what Python strips, float() does not always.
    given = value.strip(" \t")
    if given.isascii() and given.isdigit():
        seconds = float(given)
        return seconds if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())
