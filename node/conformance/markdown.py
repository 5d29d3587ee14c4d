"""Markdown for the conformance statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines, with an empty one on either side."""
    rule = ["---"] * len(head)
    return ["", *(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)), ""]


def code(text: str) -> str:
    """Return text as it is written in files and on the wire."""
    return f"`{text}`"


def hexadecimal(status: int) -> str:
    """Return a status as the standard writes it."""
    return f"0x{status:04X}"
