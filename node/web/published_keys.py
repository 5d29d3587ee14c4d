"""The public keys that an EHR may know this node by at this moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from config.certificates import UnusableFile
from fhir.smart_key import SigningKey
from fhir.smart_token import ASSERTION_LIFE_S

CLOCKS_DIFFER_S: Final = 60
RETIRED_AFTER_S: Final = ASSERTION_LIFE_S + CLOCKS_DIFFER_S
"""What was signed by a key may be shown for so long after the key is gone."""

Jwk = dict[str, str]

log = structlog.get_logger()


class PublishedKeys:
    """The public halves of the keys in files that may change at any time; may be shared by threads.

    A key that is gone from its file stays for `RETIRED_AFTER_S`, so that the contents of a file
    can be exchanged while the EHR still verifies what the older key has signed.
    """

    def __init__(
        self, paths: Sequence[Path], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._published: dict[str, Jwk] = {}
        self._gone_since: dict[str, float] = {}
        self._unusable: frozenset[Path] = frozenset()

    def current(self) -> list[Jwk]:
        """The keys as JWK (RFC 7517), in the order of the files, then those that are gone.

        A file that cannot be used is told in the log, once, and holds nothing else back.
        """
        with self._lock:
            found, now = self._read(), self._monotonic()
            gone = {kid: self._gone_since.get(kid, now) for kid in self._published.keys() - found}
            self._gone_since = {
                kid: since for kid, since in gone.items() if now - since < RETIRED_AFTER_S
            }
            kept = {kid: self._published[kid] for kid in sorted(self._gone_since)}
            self._published = {**found, **kept}
            return list(self._published.values())

    def _read(self) -> dict[str, Jwk]:
        found: dict[str, Jwk] = {}
        unusable = set()
        for path in self._paths:
            try:
                key = SigningKey(path)
            except UnusableFile as error:
                unusable.add(path)
                if path not in self._unusable:
                    log.error("public_key_not_served", key_file=str(path), problem=str(error))
            else:
                found[key.kid] = key.public_jwk()
        self._unusable = frozenset(unusable)
        return found
