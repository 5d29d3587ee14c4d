"""What was compiled for an older version, and not anew since, is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("node.receive.usual_run")

_PROGRAM = """
import node.receive.usual_run as compiled
{}
from node.receive import short_way
print(short_way.is_compiled())
"""


@pytest.mark.parametrize(
    ("before", "is_compiled"), [("", "True"), ("del compiled.MOST_INSTANCES", "False")]
)
def test_a_module_without_what_is_asked_of_it_counts_as_missing(
    before: str, is_compiled: str
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(before)], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [is_compiled]
