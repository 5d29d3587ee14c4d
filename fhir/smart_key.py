"""The keys by which we prove who we are to a SMART token endpoint, and their public halves.

SMART App Launch 2.2, "Asymmetric (public key) client authentication": RS384 or ES384, a key is
known by its `kid`; ours is the key's RFC 7638 thumbprint, so that it needs no bookkeeping.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from config.certificates import UnusableFile, read_private_key

SHORTEST_RSA_BITS: Final = 2048
_THUMBPRINT_MEMBERS: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}


class SigningKey:
    """A private key in a file of its own (PEM, mode 0600)."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UnusableFile: it cannot be read, others can read it, or it is no key for SMART.
        """
        key = read_private_key(path)
        self._key: RSAPrivateKey | EllipticCurvePrivateKey
        if isinstance(key, RSAPrivateKey) and key.key_size >= SHORTEST_RSA_BITS:
            self.algorithm, self._key = "RS384", key
        elif isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP384R1):
            self.algorithm, self._key = "ES384", key
        else:
            raise UnusableFile("is no key for SMART: RSA of 2048 bits or more, or EC P-384")
        self.kid = _thumbprint(self._public())

    def public_jwk(self) -> dict[str, str]:
        """The public half as JWK (RFC 7517), for the JWKS that the EHR knows us by."""
        public = self._public()
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def signed(self, claims: dict[str, Any]) -> str:
        """The claims as a signed JWT."""
        return jwt.encode(claims, self._key, self.algorithm, headers={"kid": self.kid})

    def _public(self) -> dict[str, str]:
        if isinstance(self._key, RSAPrivateKey):
            found = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        else:
            found = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {name: found[name] for name in _THUMBPRINT_MEMBERS[found["kty"]]}


def key_set(paths: Iterable[Path]) -> dict[str, list[dict[str, str]]]:
    """The JWKS of the keys in these files, each once.

    Raises:
        UnusableFile: one of them is no key for SMART.
    """
    keys = {key.kid: key.public_jwk() for key in map(SigningKey, paths)}
    return {"keys": list(keys.values())}


def _thumbprint(members: dict[str, str]) -> str:
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
