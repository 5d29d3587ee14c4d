"""The web application: public keys for whoever asks, and nothing else for anybody."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

JWKS_PATH: Final = "/.well-known/jwks.json"
_NO_KEYS_RETRY_S: Final = 60

Jwks = Callable[[], Sequence[dict[str, str]]]


def web_app(jwks: Jwks, *, jwks_max_age_s: int) -> FastAPI:
    """Return the application; `jwks` gives the public keys as they are at that moment."""
    app = FastAPI(openapi_url=None, exception_handlers={HTTPException: _bare_status})

    @app.api_route(JWKS_PATH, methods=["GET", "HEAD"])
    def public_keys(request: Request) -> Response:
        known_tags = request.headers.get("if-none-match", "")
        return jwks_response(jwks(), jwks_max_age_s, known_tags)

    return app


def jwks_response(jwks: Sequence[dict[str, str]], max_age_s: int, known_tags: str) -> Response:
    """The key set (RFC 7517), to be kept for `max_age_s`; 304 where the caller has it already."""
    if not jwks:
        # An empty key set would be believed, and lock us out.
        headers = {"Retry-After": str(_NO_KEYS_RETRY_S), "Cache-Control": "no-store"}
        return Response(status_code=503, headers=headers)
    body = json.dumps({"keys": jwks}).encode("ascii")
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {
        "Cache-Control": f"public, max-age={max_age_s}",
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
    }
    if tag in (part.strip().removeprefix("W/") for part in known_tags.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


async def _bare_status(_request: Request, error: HTTPException) -> Response:
    return Response(status_code=error.status_code, headers=error.headers)
