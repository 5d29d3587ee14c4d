"""Why no connection to PostgreSQL came about, in its own words."""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError

_LONGEST_TEXT = 300
_BEFORE_A_CONNECTION = ("failed to resolve host", "connection timeout expired")
"""How psycopg's own texts begin, where there is not even a connection to hand out."""
_CONNECTING = re.compile(r"^connection (failed|is bad): ", re.IGNORECASE)


def connection_fault(error: DBAPIError) -> str:
    """The reason, on one line; empty where the error is not one of connecting.

    Only then does psycopg hand out the connection with its error. No statement was sent yet, so
    that the text quotes no row: it names host, port, user and database, and never the password.
    """
    text = " ".join(str(error.orig).split())
    has_failed = getattr(error.orig, "pgconn", None) is not None
    if not has_failed and not text.startswith(_BEFORE_A_CONNECTION):
        return ""
    return _CONNECTING.sub("", text)[:_LONGEST_TEXT]
