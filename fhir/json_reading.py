"""Reading JSON that others wrote: what has not the expected shape is not there."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


def parse_object(text: bytes) -> Json | None:
    """A JSON object; None for anything else (a page of a proxy, half an answer, a list)."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def objects(value: Any) -> list[Json]:
    """The objects of a JSON array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def strings(value: Any) -> list[str]:
    """The strings of a JSON array."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def child(value: Json, name: str) -> Json:
    """A child object; empty where there is none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def string(value: Json, name: str) -> str:
    """A child string; empty where there is none."""
    found = value.get(name)
    return found if isinstance(found, str) else ""
