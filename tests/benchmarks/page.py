"""A page of results: Markdown tables, and one section of a file replaced by the newest run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as Markdown."""
    rule = ["---"] * len(head)
    return [_line(cells) for cells in (head, rule, *rows)]


def write_section(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace what stands between the markers of `name` in `page`.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no lines {begin} and {end}")
    section = "\n".join([begin, "", *lines, "", end])
    page.write_text(pattern.sub(lambda _: section, text), encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
