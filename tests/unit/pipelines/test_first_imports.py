"""Starting a process that computes: what the imports leave behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("was_on", [True, False], ids=["on", "off"])
def test_the_collector_is_left_as_it_was_by_the_imports(was_on: bool) -> None:
    code = f"""
import gc
{"gc.enable()" if was_on else "gc.disable()"}
import pipelines.first_imports
assert gc.isenabled() is {was_on}
assert gc.get_freeze_count() > 100_000
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_unless_the_operator_wants_it(given: str | None, expected: str) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    environment["OMP_DISPLAY_ENV"] = "TRUE"  # the OpenMP of torch tells what it took
    done = subprocess.run(
        [sys.executable, "-c", "import pipelines.run"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr
