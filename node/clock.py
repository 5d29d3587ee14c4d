"""What time it is: asked of a function that is handed down, so that an hour can pass in no time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Give the time of the machine."""
    return datetime.now(UTC)
