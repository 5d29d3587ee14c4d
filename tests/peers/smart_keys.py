"""Keys for SMART, made once a test run, and a token endpoint that checks what is shown to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.peers.scripted_http import Answer, Request

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP384R1())
LONGEST_LIFE_S = 300


def write_key(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    """The key as a file for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@dataclass
class TokenEndpoint:
    """Gives `token-1`, `token-2`, ... to a client that proves itself by a key of `known`."""

    url: str
    known: dict[str, Any]
    expires_in: float | None = 300
    given: int = 0
    seen: set[str] = field(default_factory=set)

    def answer(self, request: Request) -> Answer:
        """What a SMART authorization server answers to a token request."""
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        try:
            self._check(form)
        except (jwt.PyJWTError, KeyError, AssertionError) as error:
            told = {"error": "invalid_client", "error_description": repr(error)}
            return Answer(401, json.dumps(told).encode())
        self.given += 1
        token = {"access_token": f"token-{self.given}", "token_type": "bearer"}
        if self.expires_in is not None:
            token["expires_in"] = self.expires_in  # type: ignore[assignment]
        return Answer(200, json.dumps(token).encode())

    def _check(self, form: dict[str, str]) -> None:
        assertion = form["client_assertion"]
        key = self._key(jwt.get_unverified_header(assertion)["kid"])
        claims = jwt.decode(
            assertion,
            key,
            ["RS384", "ES384"],
            audience=self.url,
            issuer="radnode-1",
            options={"require": ["iss", "sub", "aud", "exp", "jti"]},
        )
        assert claims["sub"] == claims["iss"]
        assert claims["jti"] not in self.seen
        self.seen.add(claims["jti"])
        assert form["grant_type"] == "client_credentials"
        assert "system/" in form["scope"]

    def _key(self, kid: str) -> jwt.PyJWK:
        return jwt.PyJWKSet.from_dict(self.known)[kid]


@dataclass
class FetchingTokenEndpoint(TokenEndpoint):
    """Knows the client's keys by the URL of its JWKS; one that it does not know is fetched anew."""

    known: dict[str, Any] = field(default_factory=dict)
    jwks: jwt.PyJWKClient | None = None
    signed_by: list[str] = field(default_factory=list)

    def _key(self, kid: str) -> jwt.PyJWK:
        assert self.jwks is not None
        key = self.jwks.get_signing_key(kid)
        self.signed_by.append(f"{key.algorithm_name} {kid}")
        return key
