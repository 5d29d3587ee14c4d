"""The public keys at a URL of the node, for token endpoints that fetch them, and for strangers."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import node.web.hasty_connection
import node.web.server
from config.settings import Settings
from fhir.errors import TransientFhirError
from fhir.http_exchange import HttpExchange
from fhir.smart_key import SigningKey
from fhir.smart_token import SmartToken
from node.data_directory import WEB_PORT_FILE
from node.errors import ListenerFailed
from node.web.published_keys import RETIRED_AFTER_S, PublishedKeys
from node.web.server import WebServer
from tests.integration.fhir.ehr import destination
from tests.integration.fhir.scripted_answers import answers
from tests.peers.certificates import make_site
from tests.peers.scripted_http import ScriptedHttpServer
from tests.peers.smart_keys import EC_KEY, RSA_KEY, FetchingTokenEndpoint, write_key

PATH = "/.well-known/jwks.json"
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@contextmanager
def web(folder: Path, *keys: Path, **changes: Any) -> Iterator[int]:
    """The web port of a node with these keys."""
    smart = {"client_id": "radnode-1", "key_files": [str(path) for path in keys]}
    ehr = {"type": "fhir", "name": "ehr", "base_url": "https://ehr.example/r4", "smart": smart}
    values = {
        "node": {"data_dir": folder},
        "destinations": [ehr],
        "web": {"port": 0, **changes},
    }
    server = WebServer(Settings.model_validate(values))
    try:
        server.start()
        yield int((folder / WEB_PORT_FILE).read_text())
    finally:
        server.stop()


@pytest.fixture
def rsa(tmp_path: Path) -> Path:
    return write_key(tmp_path / "rsa.pem", RSA_KEY)


def ask(
    port: int, path: str = PATH, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def spoken(port: int, request: bytes) -> bytes:
    """All that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_token_endpoint_verifies_by_the_url_before_and_after_a_rotation(
    tmp_path: Path, rsa: Path
) -> None:
    new = write_key(tmp_path / "next.pem", EC_KEY)
    with web(tmp_path, rsa, new) as port, ScriptedHttpServer(answers()) as ehr:
        url = ehr.base_url.removesuffix("/fhir") + "/token"
        client = jwt.PyJWKClient(f"http://127.0.0.1:{port}{PATH}", cooldown_duration=0)
        endpoint = FetchingTokenEndpoint(url, jwks=client)
        ehr.answer = endpoint.answer
        smart = {"client_id": "radnode-1", "key_files": (rsa, new), "token_url": url}
        settings = destination(ehr.base_url, smart=smart)
        token = SmartToken(settings, HttpExchange(settings))

        assert token.headers() == {"Authorization": "Bearer token-1"}
        write_key(rsa, EC_KEY)
        write_key(new, RSA_KEY)
        token.renew()
        assert token.headers() == {"Authorization": "Bearer token-2"}
        third = write_key(tmp_path / "rsa.pem", ec.generate_private_key(ec.SECP384R1()))
        token.renew()
        assert token.headers() == {"Authorization": "Bearer token-3"}

        assert [word.split()[0] for word in endpoint.signed_by] == ["RS384", "ES384", "ES384"]
        assert endpoint.signed_by[2].split()[1] == SigningKey(third).kid
        known = {str(key.key_id) for key in client.get_signing_keys(refresh=True)}
        assert {word.split()[1] for word in endpoint.signed_by} == known


def test_a_key_that_is_not_published_opens_nothing(tmp_path: Path, rsa: Path) -> None:
    other = write_key(tmp_path / "other.pem", EC_KEY)
    with web(tmp_path, rsa) as port, ScriptedHttpServer(answers()) as ehr:
        url = ehr.base_url.removesuffix("/fhir") + "/token"
        client = jwt.PyJWKClient(f"http://127.0.0.1:{port}{PATH}")
        ehr.answer = FetchingTokenEndpoint(url, jwks=client).answer
        smart = {"client_id": "radnode-1", "key_files": (other,), "token_url": url}
        settings = destination(ehr.base_url, smart=smart)
        with pytest.raises(TransientFhirError, match="invalid_client"):
            SmartToken(settings, HttpExchange(settings)).headers()


def test_a_retired_key_goes_when_nothing_it_signed_can_be_shown_any_more(
    tmp_path: Path, rsa: Path
) -> None:
    now = [0.0]
    keys = PublishedKeys([rsa, rsa], lambda: now[0])
    (old,) = keys.current()
    write_key(rsa, EC_KEY)
    assert [key["alg"] for key in keys.current()] == ["ES384", "RS384"]
    now[0] = RETIRED_AFTER_S - 1
    assert old in keys.current()
    now[0] = RETIRED_AFTER_S
    assert [key["alg"] for key in keys.current()] == ["ES384"]
    write_key(rsa, RSA_KEY)
    assert keys.current()[0] == old


def test_no_private_part_is_served(tmp_path: Path, rsa: Path) -> None:
    with web(tmp_path, rsa, write_key(tmp_path / "ec.pem", EC_KEY)) as port:
        response, body = ask(port)
    keys = json.loads(body)["keys"]
    assert [key["kty"] for key in keys] == ["RSA", "EC"]
    assert not any(PRIVATE_MEMBERS & key.keys() for key in keys)
    assert response.headers["Content-Type"] == "application/json"


def test_an_ehr_may_keep_the_keys_and_ask_whether_they_changed(tmp_path: Path, rsa: Path) -> None:
    with web(tmp_path, rsa, jwks_max_age_s=60) as port:
        first, _ = ask(port)
        assert first.headers["Cache-Control"] == "public, max-age=60"
        same, body = ask(port, If_None_Match=f'"x", W/{first.headers["ETag"]}')
        assert (same.status, body) == (304, b"")
        head, body = ask(port, method="HEAD")
        assert (head.status, body) == (200, b"")
        assert int(head.headers["Content-Length"]) > 100
        write_key(rsa, EC_KEY)
        assert ask(port, If_None_Match=first.headers["ETag"])[0].status == 200


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /docs HTTP/1.1", 404),
        (b"GET /openapi.json HTTP/1.1", 404),
        (b"GET /.well-known/../rsa.pem HTTP/1.1", 404),
        (b"GET http://[/ HTTP/1.1", 404),
        (b"POST /.well-known/jwks.json HTTP/1.1", 405),
        (b"DELETE <script> HTTP/1.1", 404),
        (b"GET <script> a b c", 400),
        (b"GET /" + b"x" * 60_000 + b" HTTP/1.1", 404),
    ],
    ids=lambda value: str(value)[:24],
)
def test_strangers_see_nothing_else(
    tmp_path: Path,
    rsa: Path,
    request_line: bytes,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with web(tmp_path, rsa) as port:
        told = spoken(port, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert body in (b"", b"Invalid HTTP request received.")
    assert b"script" not in head
    assert b"uvicorn" not in head.lower()
    assert "script" not in caplog.text


def test_silent_and_dripping_callers_keep_nobody_else_out(
    tmp_path: Path, rsa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.web.hasty_connection, "CONNECTION_S", 0.3)
    monkeypatch.setattr(node.web.server, "MOST_CONNECTIONS", 2)
    with web(tmp_path, rsa) as port:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2)]
        silent[0].sendall(b"GET /.well")
        assert ask(port)[0].status == 503
        for one in silent:
            assert one.recv(1) == b""
        assert ask(port)[0].status == 200
        for one in silent:
            one.close()


def test_keys_that_cannot_be_read_are_no_empty_key_set(tmp_path: Path, rsa: Path) -> None:
    good = write_key(tmp_path / "ec.pem", EC_KEY)
    good.unlink()
    rsa.chmod(0o644)
    with web(tmp_path, rsa, good) as port:
        response, body = ask(port)
        assert (response.status, body) == (503, b"")
        assert response.headers["Retry-After"]
        rsa.chmod(0o600)
        assert [key["alg"] for key in json.loads(ask(port)[1])["keys"]] == ["RS384"]


def test_the_keys_are_served_over_tls(tmp_path: Path, rsa: Path) -> None:
    site = make_site(tmp_path / "site")
    files = {"certificate_file": site.node.certificate_file, "key_file": site.node.key_file}
    trusted = ssl.create_default_context(cafile=site.ca_file)
    with web(tmp_path, rsa, **files) as port:
        url = f"https://127.0.0.1:{port}{PATH}"
        (key,) = jwt.PyJWKClient(url, ssl_context=trusted).get_signing_keys()
        assert key.key_id == SigningKey(rsa).kid
        assert b"HTTP/" not in spoken(port, b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(
                socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
            )


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, rsa: Path) -> None:
    old, new = make_site(tmp_path / "old"), make_site(tmp_path / "new")
    files = {"certificate_file": old.node.certificate_file, "key_file": old.node.key_file}

    def fetched(port: int, ca_file: Path) -> bool:
        trusted = ssl.create_default_context(cafile=ca_file)
        client = jwt.PyJWKClient(f"https://127.0.0.1:{port}{PATH}", ssl_context=trusted)
        return bool(client.get_signing_keys())

    with web(tmp_path, rsa, **files) as port:
        assert fetched(port, old.ca_file)
        new.node.key_file.replace(old.node.key_file)
        new.node.certificate_file.replace(old.node.certificate_file)
        assert fetched(port, new.ca_file)
        with pytest.raises(jwt.PyJWKClientConnectionError):
            fetched(port, old.ca_file)


def test_a_port_that_is_taken_is_told(tmp_path: Path, rsa: Path) -> None:
    with (
        web(tmp_path, rsa) as port,
        pytest.raises(ListenerFailed, match=f"127.0.0.1:{port}"),
        web(tmp_path, rsa, port=port),
    ):
        raise AssertionError("two servers on one port")
