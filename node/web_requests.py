"""What the web port answers: the JWKS at one path, and a bare status to everything else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

JWKS_PATH: Final = "/.well-known/jwks.json"
_METHODS: Final = "GET, HEAD"
_NO_KEYS_RETRY_S: Final = 60


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """One answer, whole."""

    status: HTTPStatus
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def jwks_answer(jwks: list[dict[str, str]], max_age_s: int, known_tag: str) -> WebAnswer:
    """The key set (RFC 7517), to be kept for `max_age_s`; 304 where the caller has it already."""
    if not jwks:
        headers = {"Retry-After": str(_NO_KEYS_RETRY_S), "Cache-Control": "no-store"}
        return WebAnswer(HTTPStatus.SERVICE_UNAVAILABLE, headers)
    body = json.dumps({"keys": jwks}).encode("ascii")
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"Cache-Control": f"public, max-age={max_age_s}", "ETag": tag}
    if tag in (part.strip().removeprefix("W/") for part in known_tag.split(",")):
        return WebAnswer(HTTPStatus.NOT_MODIFIED, headers)
    headers["Content-Type"] = "application/json"
    return WebAnswer(HTTPStatus.OK, headers, body)


class RequestHandler(BaseHTTPRequestHandler):
    """Answers the one request of a connection; `jwks` gets the caller's If-None-Match."""

    disable_nagle_algorithm = True
    # Where the version cannot be read, the status is told all the same.
    default_request_version = "HTTP/1.0"

    def __init__(self, jwks: Callable[[str], WebAnswer], *connection: Any) -> None:
        self._jwks = jwks
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Tell it."""
        self._tell(self._answer())

    def do_HEAD(self) -> None:
        """Tell all but the body."""
        self._tell(self._answer())

    def _answer(self) -> WebAnswer:
        if self.path.partition("?")[0] != JWKS_PATH:
            return WebAnswer(HTTPStatus.NOT_FOUND)
        return self._jwks(self.headers.get("If-None-Match", ""))

    def _tell(self, answer: WebAnswer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A bare status: the standard library's page repeats what was asked."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._tell(WebAnswer(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": _METHODS}))
        else:
            self._tell(WebAnswer(HTTPStatus(code)))

    def version_string(self) -> str:
        """No versions: they help nobody who belongs here."""
        return "radnode"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """What strangers ask for is no text for our log."""
