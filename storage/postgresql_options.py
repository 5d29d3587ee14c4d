"""What a connection to PostgreSQL is opened with beside its address: patience, and own options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from storage.errors import StorageError

POSTGRESQL_PATIENCE: Mapping[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
"""A server that has vanished without a word is given up after 15 s; the kernel's own waits are
15 minutes for what was sent, and two hours for an answer. What the URL says has precedence."""


def connect_options(asked: Collection[str]) -> Mapping[str, int]:
    """Return the options that a URL does not give itself; `asked` are the names of those it does.

    Raises:
        StorageError: the URL names one that there is not (libpq's parameter key words). The text
            does not repeat it: behind a ? that belongs to the password it is a part of that.
        ImportError: there is no psycopg.
    """
    from psycopg import pq

    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    for name in asked:
        if name not in known:
            meant = get_close_matches(name, known, n=1)
            guess = f"; was {meant[0]} meant?" if meant else ""
            raise StorageError(
                "the database URL has an option after its ? that PostgreSQL does not know"
                f"{guess} (a ? in the password is written %3F)"
            )
    return {name: value for name, value in POSTGRESQL_PATIENCE.items() if name not in asked}
