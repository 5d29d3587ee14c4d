"""An EHR with SMART Backend Services: a token endpoint that verifies, and a server that asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.settings import FhirDestination
from fhir.authorization import authorization_for
from fhir.client import FhirClient
from fhir.errors import PatientNotResolved, TransientFhirError
from fhir.http_exchange import HttpExchange
from fhir.smart_key import key_set
from fhir.smart_token import SmartToken
from tests.integration.fhir.ehr import destination
from tests.integration.fhir.scripted_answers import answers, told
from tests.peers.certificates import make_site, mutual_tls_server
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer
from tests.peers.smart_keys import EC_KEY, RSA_KEY, TokenEndpoint, write_key
from tests.unit.fhir.finished_jobs import with_findings


@dataclass
class Ehr:
    """A server that takes only the newest token, with its token endpoint."""

    server: ScriptedHttpServer
    endpoint: TokenEndpoint
    key_files: tuple[Path, ...]
    is_revoked: bool = False

    def answer(self, request: Request) -> Answer:
        if request.path == "/token":
            return self.endpoint.answer(request)
        if request.path == "/fhir/.well-known/smart-configuration":
            return told({"token_endpoint": self.endpoint.url})
        token = f"Bearer token-{self.endpoint.given}"
        if request.headers.get("Authorization") != token or self.is_revoked:
            self.is_revoked = False
            return told({}, 401)
        return answers()(request)

    def settings(self, **smart: Any) -> FhirDestination:
        values = {"client_id": "radnode-1", "key_files": self.key_files, **smart}
        return destination(self.server.base_url, smart=values)

    def client(self, **smart: Any) -> FhirClient:
        return FhirClient(self.settings(**smart), "Radiology", "UTC")

    def tokens(self) -> int:
        return sum(request.path == "/token" for request in self.server.requests)


@pytest.fixture(params=["RS384", "ES384"])
def ehr(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ehr]:
    key = RSA_KEY if request.param == "RS384" else EC_KEY
    path = write_key(tmp_path / "key.pem", key)
    with ScriptedHttpServer(answers()) as server:
        url = server.base_url.removesuffix("/fhir") + "/token"
        made = Ehr(server, TokenEndpoint(url, key_set([path])), (path,))
        server.answer = made.answer
        yield made


def reaches(client: FhirClient) -> None:
    """It is let in: the server answers, and knows no such patient."""
    with client, pytest.raises(PatientNotResolved):
        client.deliver(with_findings())


def code_of(client: FhirClient) -> str:
    with client, pytest.raises(TransientFhirError) as caught:
        client.deliver(with_findings())
    return caught.value.code


def test_one_token_opens_the_way_for_a_whole_delivery(ehr: Ehr) -> None:
    reaches(ehr.client())
    assert ehr.tokens() == 1
    assert len(ehr.server.requests) > 3


def test_the_token_endpoint_may_be_given(ehr: Ehr) -> None:
    reaches(ehr.client(token_url=ehr.endpoint.url))
    asked = [request.path for request in ehr.server.requests]
    assert not any("well-known" in path for path in asked)


def test_a_token_endpoint_over_tls_that_a_server_in_clear_names_is_trusted_by_the_ca_file(
    ehr: Ehr, tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site")
    with ScriptedHttpServer(ehr.endpoint.answer, mutual_tls_server(site)) as tokens:
        ehr.endpoint.url = tokens.base_url
        tls = {
            "ca_file": site.ca_file,
            "certificate_file": site.node.certificate_file,
            "key_file": site.node.key_file,
        }
        smart = {"client_id": "radnode-1", "key_files": ehr.key_files}
        settings = destination(ehr.server.base_url, smart=smart, **tls)
        reaches(FhirClient(settings, "Radiology", "UTC"))


def test_a_token_that_is_not_taken_any_more_is_renewed_once(ehr: Ehr) -> None:
    client = ehr.client()
    client.check_capability()
    ehr.is_revoked = True
    reaches(client)
    assert ehr.tokens() == 2


def test_a_server_that_takes_no_token_is_not_asked_for_ever(ehr: Ehr) -> None:
    ehr.server.answer = lambda request: (
        told({}, 401) if request.path.startswith("/fhir/metadata") else ehr.answer(request)
    )
    assert code_of(ehr.client()) == "http_401"
    assert ehr.tokens() == 2


def test_a_client_that_the_endpoint_does_not_know_waits_with_its_word(ehr: Ehr) -> None:
    ehr.endpoint.known = {"keys": [{"kty": "oct", "k": "AA", "kid": "other"}]}
    with ehr.client() as client, pytest.raises(TransientFhirError) as caught:
        client.deliver(with_findings())
    assert caught.value.code == "token_refused"
    assert caught.value.text == "token: status 401: invalid_client"


def test_a_new_key_is_used_without_a_restart(ehr: Ehr, tmp_path: Path) -> None:
    client = ehr.client()
    client.check_capability()
    other = EC_KEY if ehr.key_files[0].read_bytes().count(b"\n") > 10 else RSA_KEY
    write_key(ehr.key_files[0], other)
    ehr.endpoint.known = key_set(ehr.key_files)
    ehr.is_revoked = True
    reaches(client)


def test_a_token_is_renewed_before_its_end(ehr: Ehr) -> None:
    now = [1000.0]
    settings = ehr.settings()
    token = SmartToken(settings, HttpExchange(settings), lambda: now[0])
    first = token.headers()
    now[0] += 269
    assert token.headers() == first
    now[0] += 2
    assert token.headers() != first


@pytest.mark.parametrize("life", [None, 20, -5], ids=["untold", "short", "over"])
def test_a_token_of_odd_life_is_used_at_least_once(ehr: Ehr, life: float | None) -> None:
    ehr.endpoint.expires_in = life
    settings = ehr.settings()
    token = authorization_for(settings, HttpExchange(settings))
    assert token.headers() == token.headers()
    reaches(ehr.client())


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "a b", "token_type": "bearer"},
        {"access_token": "a\r\nX: y", "token_type": "bearer"},
        {"access_token": "abc", "token_type": "mac"},
        {"token_type": "bearer"},
        [],
    ],
    ids=["space", "new line", "another type", "none", "no object"],
)
def test_an_answer_that_holds_no_bearer_token_waits(ehr: Ehr, answer: Any) -> None:
    ehr.server.answer = lambda request: (
        Answer(200, json.dumps(answer).encode())
        if request.path == "/token"
        else ehr.answer(request)
    )
    assert code_of(ehr.client()) == "bad_response"


@pytest.mark.parametrize(
    "url", ["http://tokens.example/token", "ftp://x/", "nowhere"], ids=["http", "ftp", "no URL"]
)
def test_no_token_is_asked_in_clear_text(ehr: Ehr, url: str) -> None:
    ehr.endpoint.url = url
    assert code_of(ehr.client()) == "token_url"
    assert ehr.tokens() == 0


def test_a_key_that_is_gone_waits(ehr: Ehr) -> None:
    ehr.key_files[0].unlink()
    assert code_of(ehr.client()) == "smart_key"
