"""Access tokens by SMART Backend Services (SMART App Launch 2.2): private_key_jwt.

A token is asked for when there is none, kept until shortly before its end, and given up when the
server does not take it any more. The key is read for each token, so that keys rotate without a
restart: the EHR learns the new public key first, then it becomes the first of `smart.key_files`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from config.certificates import UnusableFile
from config.network_names import is_loopback
from config.settings import FhirDestination
from fhir.errors import TransientFhirError
from fhir.http_exchange import HttpExchange
from fhir.json_reading import Json, string
from fhir.smart_key import SigningKey

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S: Final = 240
"""The standard allows five minutes; clocks differ."""
TOKEN_LIFE_S: Final = 300.0
"""Of a token whose end is not told."""
LONGEST_LIFE_S: Final = 86_400.0
EARLY_S: Final = 30.0

_WELL_KNOWN: Final = "/.well-known/smart-configuration"
_ERROR: Final = re.compile(r"[a-z_]{1,40}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    good_until: float


class SmartToken:
    """The authorization of one destination; see `fhir.authorization.Authorization`."""

    def __init__(
        self,
        destination: FhirDestination,
        exchange: HttpExchange,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = destination.base_url
        self._smart = destination.smart
        self._exchange = exchange
        self._monotonic = monotonic
        self._token: _Token | None = None

    def headers(self) -> Mapping[str, str]:
        """The token that is good now; a new one is asked for where there is none.

        Raises:
            TransientFhirError: no token could be had.
        """
        if self._token is None or self._monotonic() >= self._token.good_until:
            self._token = self._new_token(self._token_url())
        return {"Authorization": f"Bearer {self._token.value}"}

    def renew(self) -> bool:
        """Give the token up; the next one is another."""
        self._token = None
        return True

    def _token_url(self) -> str:
        url = self._smart.token_url or self._discovered()
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or is_loopback(parts.hostname or "")
        if not is_safe or not parts.hostname:
            text = "the token endpoint is no https address: a token would go in clear text"
            raise TransientFhirError("token_url", text)
        return url

    def _discovered(self) -> str:
        url = self._base_url + _WELL_KNOWN
        headers = {"Accept": "application/json"}
        response, body = self._exchange.send("smart-configuration", "GET", url, headers)
        found = string(body or {}, "token_endpoint")
        if not response.is_success or not found:
            text = f"smart-configuration: status {response.status_code}, no token_endpoint"
            raise TransientFhirError("token_url", text)
        return found

    def _new_token(self, token_url: str) -> _Token:
        form = {
            "grant_type": "client_credentials",
            "scope": self._smart.scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(token_url),
        }
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        content = urlencode(form).encode("ascii")
        asked_at = self._monotonic()
        response, body = self._exchange.send("token", "POST", token_url, headers, content)
        if not response.is_success:
            raise _refusal(response.status_code, body or {})
        return _token(body or {}, asked_at)

    def _assertion(self, token_url: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self._smart.client_id,
            "sub": self._smart.client_id,
            "aud": token_url,
            "exp": now + ASSERTION_LIFE_S,
            "jti": str(uuid4()),
        }
        try:
            return SigningKey(self._smart.key_files[0]).signed(claims)
        except (UnusableFile, IndexError) as error:
            text = f"the first of smart.key_files cannot be used: {error}"
            raise TransientFhirError("smart_key", text) from None


def _refusal(status: int, body: Json) -> TransientFhirError:
    """A refused login says nothing about a report; of the answer only OAuth's own word is told."""
    error = string(body, "error")
    word = f": {error}" if _ERROR.fullmatch(error) else ""
    return TransientFhirError("token_refused", f"token: status {status}{word}")


def _token(body: Json, asked_at: float) -> _Token:
    value = string(body, "access_token")
    if not _TOKEN.fullmatch(value) or string(body, "token_type").lower() != "bearer":
        raise TransientFhirError("bad_response", "token: the answer holds no bearer token")
    life_s = _life_s(body.get("expires_in"))
    # Of a short life half is used.
    return _Token(value, asked_at + max(life_s - EARLY_S, life_s / 2))


def _life_s(told: object) -> float:
    if isinstance(told, int | float) and 0 < told < LONGEST_LIFE_S:
        return float(told)
    return TOKEN_LIFE_S
