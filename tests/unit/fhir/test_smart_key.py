from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from config.certificates import UnusableFile
from fhir.smart_key import SigningKey, key_set
from tests.peers.smart_keys import EC_KEY, RSA_KEY, write_key

KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {
    "RS384": RSA_KEY,
    "ES384": EC_KEY,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_a_key_signs_its_published_half_verifies(tmp_path: Path, algorithm: str) -> None:
    key = SigningKey(write_key(tmp_path / "key.pem", KEYS[algorithm]))
    token = key.signed({"iss": "radnode", "aud": "https://ehr.example/token"})

    public = jwt.PyJWKSet.from_dict(key_set([tmp_path / "key.pem"]))[key.kid]
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, public, [algorithm], audience="https://ehr.example/token")

    assert (header["alg"], header["kid"]) == (algorithm, key.kid)
    assert claims["iss"] == "radnode"


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_published_half_holds_nothing_private(tmp_path: Path, algorithm: str) -> None:
    path = write_key(tmp_path / "key.pem", KEYS[algorithm])
    (public,) = key_set([path])["keys"]
    assert set(public) & {"d", "p", "q", "dp", "dq", "qi", "k"} == set()
    assert public["use"] == "sig"


def test_the_key_id_is_the_thumbprint_of_rfc_7638(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key.pem", EC_KEY)
    key = SigningKey(path)
    (public,) = key_set([path])["keys"]
    members = f'"crv":"P-384","kty":"EC","x":"{public["x"]}","y":"{public["y"]}"'
    text = "{" + members + "}"
    digest = hashlib.sha256(text.encode()).digest()
    assert key.kid == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_each_key_is_published_once(tmp_path: Path) -> None:
    first = write_key(tmp_path / "a.pem", RSA_KEY)
    again = write_key(tmp_path / "b.pem", RSA_KEY)
    other = write_key(tmp_path / "c.pem", EC_KEY)
    assert len(key_set([first, again, other])["keys"]) == 2
    assert json.dumps(key_set([first, other]))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["short RSA", "P-256", "Ed25519"],
)
def test_a_key_of_another_kind_is_refused(
    tmp_path: Path,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(UnusableFile, match="no key for SMART"):
        SigningKey(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key.pem", EC_KEY)
    path.chmod(0o640)
    with pytest.raises(UnusableFile, match="chmod 600"):
        SigningKey(path)
