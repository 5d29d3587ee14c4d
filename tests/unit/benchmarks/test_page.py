from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.page import markdown_table, write_section


def test_only_the_named_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nbetween\n"
        "<!-- b: begin -->\nkept\n<!-- b: end -->\n"
    )

    write_section(page, "a", ["new \\1 line"])

    text = page.read_text()
    assert "old" not in text
    assert "<!-- a: begin -->\n\nnew \\1 line\n\n<!-- a: end -->\nbetween" in text
    assert "<!-- b: begin -->\nkept\n<!-- b: end -->" in text


def test_a_page_without_the_markers_is_refused_and_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n")

    with pytest.raises(ValueError, match="no lines"):
        write_section(page, "a", ["new"])

    assert page.read_text() == "text\n"


def test_a_table_has_a_rule_under_its_head() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
