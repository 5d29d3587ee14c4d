"""What a program took is told of that program, whoever started it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import measured
from tests.benchmarks.infer_runs import Run
from tests.benchmarks.infer_tables import stages_line, table

MIB = 1 << 20
LARGE_MIB = 200


def figures_of(code: str, folder: Path) -> dict[str, float]:
    out = folder / "figures.json"
    starter = [sys.executable, "-I", "-S", str(measured.__file__), str(out)]
    subprocess.run([*starter, sys.executable, "-I", "-S", "-c", code], check=True)
    figures: dict[str, float] = json.loads(out.read_text())
    return figures


def test_the_memory_of_who_asks_is_not_counted(tmp_path: Path) -> None:
    ours = bytearray(LARGE_MIB * MIB)
    assert figures_of("pass", tmp_path)["peak_mib"] < LARGE_MIB / 2
    del ours


def test_the_peak_of_a_child_is_counted(tmp_path: Path) -> None:
    child = f"x = bytearray({LARGE_MIB * MIB})"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert LARGE_MIB <= figures_of(code, tmp_path)["peak_mib"] < 2 * LARGE_MIB


def test_the_exit_status_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as info:
        figures_of("raise SystemExit(3)", tmp_path)
    assert info.value.returncode == 3


def test_ratios_are_to_the_medians_of_the_first() -> None:
    stock = [Run(9.0, 20.0, 100.4, {}), Run(10.0, 22.0, 90.0, {}), Run(30.0, 21.0, 95.0, {})]
    ours = [Run(4.0, 7.0, 50.0, {})]
    *_, first, second = table({"stock": stock, "ours": ours})
    assert first == "| stock | 10.0 | 9.0-30.0 | 1.00 | 21.0 | 1.00 | 100 |"
    assert second == "| ours | 4.0 | 4.0-4.0 | 2.50 | 7.0 | 3.00 | 50 |"


def test_stages_stand_in_their_order() -> None:
    assert stages_line({"read": 0.25, "inference": 12.34}) == "read 0.2 s, inference 12.3 s"
