"""How a request to an EHR proves who sends it: not at all, by a fixed token, or by SMART."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from config.settings import FhirDestination
from fhir.http_exchange import HttpExchange
from fhir.smart_token import SmartToken


class Authorization(Protocol):
    """Gives the headers of a request."""

    def headers(self) -> Mapping[str, str]:
        """The headers that prove who sends; may ask for a token first.

        Raises:
            TransientFhirError: no token could be had.
        """
        ...

    def renew(self) -> bool:
        """The server took the proof for none (401): whether another try has another one."""
        ...


class FixedAuthorization:
    """A bearer token that the site has given us, or nothing."""

    def __init__(self, token: str | None) -> None:
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def headers(self) -> Mapping[str, str]:
        """Always the same."""
        return self._headers

    def renew(self) -> bool:
        """There is no other."""
        return False


def authorization_for(destination: FhirDestination, exchange: HttpExchange) -> Authorization:
    """What the destination's settings say."""
    if destination.smart.client_id is not None:
        return SmartToken(destination, exchange)
    secret = destination.bearer_token
    return FixedAuthorization(secret.get_secret_value() if secret else None)
