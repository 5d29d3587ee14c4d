"""How fast, and with how much memory, a bundle runs: MONAI's own runner beside radnode.

`python -m tests.benchmarks.infer` runs both in turn, each in a fresh process, on the same bundle
and voxels. MONAI's runner reads and writes NIfTI; radnode reads DICOM, and writes and proves SEG
and SR: its time holds more work. `make bench-infer` is the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tests.benchmarks.infer_runs import (
    Run,
    prepare,
    restored_slices,
    run_ours,
    run_restore,
    run_stock,
    share_equal,
)
from tests.benchmarks.infer_sizes import SIZES, Size
from tests.benchmarks.infer_tables import stages_line, table
from tests.benchmarks.machine import command_line, machine_lines
from tests.benchmarks.page import write_section

SECTION = "infer"
LIBRARIES = ("torch", "monai", "highdicom", "pydicom")
CLASSES = 25
MANY_CLASSES = 104
STOCK, OURS = "monai.bundle run", "radnode"
BYTES_PER_FLOAT = 4


def whole_runs(folder: Path, size: str, rounds: int) -> list[str]:
    """From the study to results, by MONAI's runner and by radnode in turn."""
    prepare(folder, CLASSES, size)
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for name, run in ((STOCK, run_stock), (OURS, run_ours)):
            runs[name].append(run(folder, CLASSES))
            _say(f"round {number}, {size}, {name}", runs[name][-1])
    warm = run_ours(folder, CLASSES, "--warm")
    _say(f"{size}, {OURS}, warm", warm)
    return [
        f"**Whole run**, UNet, {CLASSES} classes, {_told(SIZES[size])}, {rounds} rounds",
        "",
        *table(runs),
        "",
        f"Equal voxels: {share_equal(folder):.4%}. Stages of radnode's last run: "
        f"{stages_line(runs[OURS][-1].told)}. The same study again in a process whose model is "
        f"loaded, as in a worker: {warm.told['all']:.1f} s.",
    ]


def restores(folder: Path, size: str, rounds: int) -> list[str]:
    """Back to the source grid alone, of one answer of the network."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for name, way in (("softmax, Invertd, argmax", "stock"), (OURS, "ours")):
            runs[name].append(run_restore(way, CLASSES, size, folder))
            _say(f"round {number}, restore, {name}", runs[name][-1])
    equal = np.mean(np.load(folder / "stock.npy") == np.load(folder / "ours.npy"))
    return [
        f"**Back to the source grid alone**, {CLASSES} classes, {_told(SIZES[size])}, "
        f"{rounds} rounds",
        "",
        *table(runs),
        "",
        f"Equal voxels: {float(equal):.4%}.",
    ]


def many_restored(folder: Path, size: str) -> list[str]:
    """The same for so many classes that MONAI's way is followed slice by slice only."""
    ours = run_restore("ours", MANY_CLASSES, size, folder)
    _say(f"restore, {MANY_CLASSES} classes, {OURS}", ours)
    run_restore("slices", MANY_CLASSES, size, folder)
    checked = restored_slices(folder, size)
    equal = float(np.mean(checked.ours == checked.stock))
    return [
        f"**Back to the source grid alone**, {MANY_CLASSES} classes, {_told(SIZES[size])}: "
        f"{ours.elapsed_s:.1f} s, {ours.peak_mib:.0f} MiB, the network's answer included. Of "
        f"{checked.count} slices that MONAI restored one by one, {equal:.4%} of the voxels are "
        "equal."
    ]


def many_classes(folder: Path, size: str) -> list[str]:
    """From DICOM to labels, of so many classes that MONAI's runner needs too much memory."""
    prepare(folder, MANY_CLASSES, size)
    run = run_ours(folder, MANY_CLASSES, "--labels-only")
    _say(f"{MANY_CLASSES} classes, {OURS}", run)
    lines = [
        f"**{MANY_CLASSES} classes**, {_told(SIZES[size])}, from DICOM to labels on the source "
        f"grid: {run.elapsed_s:.0f} s, {run.cpu_s:.0f} s of CPU, {run.peak_mib:.0f} MiB "
        f"({stages_line(run.told)})."
    ]
    needed_gib = _stock_needs_gib(SIZES[size])
    if needed_gib > _memory_gib():
        return [
            *lines,
            "",
            f"MONAI's runner was not run on it: its answer on the source grid alone would be "
            f"{needed_gib:.0f} GiB, and this machine has {_memory_gib():.0f} GiB.",
        ]
    stock = run_stock(folder, MANY_CLASSES)
    _say(f"{MANY_CLASSES} classes, {STOCK}", stock)
    return [*lines, "", f"MONAI's runner: {stock.elapsed_s:.0f} s, {stock.peak_mib:.0f} MiB."]


def _stock_needs_gib(size: Size) -> float:
    """What `Invertd` answers: all classes on the source grid, float32."""
    return MANY_CLASSES * float(np.prod(size.shape)) * BYTES_PER_FLOAT / 2**30


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _told(size: Size) -> str:
    slices, rows, columns = size.shape
    return f"{columns} x {rows} x {slices} source"


def _say(what: str, run: Run) -> None:
    figures = f"{run.elapsed_s:.1f} s, CPU {run.cpu_s:.1f} s, {run.peak_mib:.0f} MiB"
    sys.stderr.write(f"{what}: {figures}\n")


def _page(folder: Path, given: argparse.Namespace) -> list[str]:
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, `{command_line()}`", ""]
    lines += [*machine_lines(folder, LIBRARIES), ""]
    usual, large = ("small", "small") if given.quick else ("usual", "large")
    if "small" in given.only:
        lines += [*whole_runs(folder / "small", "small", given.rounds), ""]
    if "usual" in given.only and not given.quick:
        lines += [*whole_runs(folder / "usual", "usual", given.rounds), ""]
    if "restore" in given.only:
        lines += [*restores(folder, usual, given.rounds), ""]
    if "many" in given.only:
        lines += [*many_restored(folder, large), "", *many_classes(folder / "many", large), ""]
    return lines[:-1]


def main() -> None:
    """Measure, print the page, and write it where it is wanted."""
    parts = ("small", "usual", "restore", "many")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one small round of all, to try it")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="some parts")
    parser.add_argument("--folder", type=Path, help="for temporary files")
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    given = parser.parse_args()
    given.rounds = 1 if given.quick else given.rounds
    with tempfile.TemporaryDirectory(prefix="bench-infer-", dir=given.folder) as name:
        lines = _page(Path(name), given)
    sys.stdout.write("\n".join(lines) + "\n")
    if given.write:
        write_section(given.write, SECTION, lines)


if __name__ == "__main__":
    main()
