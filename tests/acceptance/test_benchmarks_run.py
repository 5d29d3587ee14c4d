"""The benchmark programs run to their end on a small load; what they measure is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.radnode_process import environment

SMALL = "--rounds 1 --slices 4 --associations 2 --parallel-slices 2 --large-mb 2 --rest-s 0"
ROOT = Path(__file__).parents[2]


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.peer("dcmtk")
def test_the_receivers_are_measured_side_by_side_and_the_page_gets_its_table(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- receive: begin -->\n<!-- receive: end -->\n")
    # Not PostgreSQL: its account cannot enter the folder of a test.
    only = ["--only", "storescp", "pynetdicom", "radnode fsync, SQLite"]
    places = ["--folder", str(tmp_path), "--write", str(page)]

    done = _run("receive", *SMALL.split(), *only, *places)

    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for case in ("1 association x 4 slices", "2 associations x 2 slices", "growth by"):
        _, _, table = text.partition(case)
        for receiver in ("storescp", "storescp --fork", "pynetdicom, raw handler", "radnode"):
            assert f"\n| {receiver}" in table, (case, receiver)
    assert list(tmp_path.iterdir()) == [page]


def test_the_time_from_the_last_answer_to_the_start_of_the_job_is_measured(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- completeness: begin -->\n<!-- completeness: end -->\n")

    done = _run("completeness", "--studies", "1", "--quiet-studies", "0", "--write", str(page))

    assert done.returncode == 0, done.stderr
    assert "| counts by C-FIND | 1 | pacs_counts" in page.read_text()
