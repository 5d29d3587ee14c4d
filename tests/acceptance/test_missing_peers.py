"""Tests whose counterpart is missing are named; where counterparts are demanded they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = "tests/unit/node_demo/test_pacs_stand_in.py"
NEEDY = f"{TESTS}::test_it_answers_echo"


def run_without_peers(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RADNODE_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, NEEDY],
        cwd=ROOT,
        env={**environment, "PATH": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_a_test_without_its_counterpart_is_listed_by_name(arguments: tuple[str, ...]) -> None:
    done = run_without_peers(*arguments)
    assert done.returncode == 0, done.stdout
    assert f"{NEEDY} (peer missing: dcmtk)" in done.stdout


def test_where_counterparts_are_demanded_a_missing_one_is_a_failure() -> None:
    done = run_without_peers(RADNODE_REQUIRE_PEERS="1")
    assert done.returncode == 1
    assert "peer missing: dcmtk; run docker/install-test-peers.sh" in done.stdout
