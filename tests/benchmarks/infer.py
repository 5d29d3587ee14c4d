"""How fast, and with how much memory, a bundle runs: MONAI's own runner beside radnode.

`python -m tests.benchmarks.infer` runs both in turn, each in a fresh process, on the same bundle
and voxels. MONAI's runner reads and writes NIfTI; radnode reads DICOM, and writes and proves SEG
and SR: its time holds more work. `make bench-infer` is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from pipelines.series_volume import read_series
from tests.benchmarks.infer_case import NAME, Size, label_of, write_bundle, write_volume
from tests.benchmarks.machine import command_line, machine_lines
from tests.benchmarks.page import markdown_table, write_section
from tests.unit.pipelines_objects.read_elsewhere import labels_on_grid

SECTION = "infer"
CLASSES = 25
MANY_CLASSES = 104
CASE = Size((120, 400, 400), (2.5, 0.9375, 0.9375))
LARGE = Size((400, 512, 512), (1.0, 0.75, 0.75))
QUICK = Size((24, 96, 96), (2.5, 1.2, 1.2))
STOCK, OURS = "monai.bundle run", "radnode"


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall clock, most resident memory, and what it printed last."""

    elapsed_s: float
    peak_mib: float
    told: dict[str, float]


def timed(command: list[str], cwd: Path) -> Run:
    """Run a command to its end. Raises `RuntimeError` with its last words when it fails."""
    started = perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            cwd=cwd,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed_s = perf_counter() - started
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode:
        raise RuntimeError("\n".join(lines[-20:]))
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Run(elapsed_s, usage.ru_maxrss / 1024, told)


def run_stock(folder: Path) -> Run:
    """MONAI's own runner on the NIfTI file."""
    bundle = folder / NAME
    options = {
        "config_file": str(bundle / "configs" / "inference.json"),
        "bundle_root": str(bundle),
        "dataset_dir": str(folder / "nifti"),
        "output_dir": str(folder / "stock"),
    }
    # What `python -m monai.bundle run` calls; its command line needs one package more.
    return timed([sys.executable, "-c", f"from monai.bundle import run; run(**{options})"], folder)


def run_ours(folder: Path, classes: int, *options: str) -> Run:
    """radnode on the DICOM files."""
    rmtree(folder / "ours", ignore_errors=True)
    module = "tests.benchmarks.infer_once"
    return timed([sys.executable, "-m", module, str(folder), str(classes), *options], Path.cwd())


def share_equal(folder: Path) -> float:
    """Voxels of the SEG, read by other code, that are as in MONAI's NIfTI."""
    (path,) = (folder / "stock").rglob("*.nii.gz")
    stock = np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)
    return float(np.mean(stock == _labels_of_seg(folder)))


def _labels_of_seg(folder: Path) -> NDArray[np.int64]:
    seg = folder / "ours" / "seg.dcm"
    volume = read_series(sorted((folder / "dicom").iterdir()))
    numbers = labels_on_grid(seg, volume.affine_lps, volume.voxels.shape)
    values = {label_of(value): value for value in range(1, MANY_CLASSES)}
    table = np.zeros(MANY_CLASSES, dtype=np.int64)
    for segment in dcmread(seg, stop_before_pixels=True).SegmentSequence:
        table[int(segment.SegmentNumber)] = values[str(segment.SegmentLabel)]
    result: NDArray[np.int64] = table[numbers]
    return result


def _whole_runs(folder: Path, size: Size, rounds: int) -> list[str]:
    write_bundle(folder, CLASSES)
    write_volume(folder, size)
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for name, run in ((STOCK, run_stock(folder)), (OURS, run_ours(folder, CLASSES))):
            runs[name].append(run)
            _say(f"round {number}, {name}: {run.elapsed_s:.1f} s, {run.peak_mib:.0f} MiB")
    stages = runs[OURS][-1].told
    return [
        f"**Whole run**, UNet, {CLASSES} classes, {_told(size)}, {rounds} rounds",
        "",
        *_table(runs),
        "",
        f"Equal voxels: {share_equal(folder):.4%}. Stages of radnode's last run: "
        + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in stages.items())
        + ".",
    ]


def _restores(folder: Path, rounds: int) -> list[str]:
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for name, way in (("softmax, Invertd, argmax", "stock"), (OURS, "ours")):
            module = "tests.benchmarks.restore_once"
            out = str(folder / f"{way}.npy")
            run = timed([sys.executable, "-m", module, way, out], Path.cwd())
            runs[name].append(Run(run.told["s"], run.told["mib"], {}))
            _say(f"round {number}, restore, {name}: {run.told['s']:.1f} s")
    equal = np.mean(np.load(folder / "stock.npy") == np.load(folder / "ours.npy"))
    return [
        f"**Back to the source grid alone**, {CLASSES} classes, {_told(CASE)}, {rounds} rounds",
        "",
        *_table(runs),
        "",
        f"Equal voxels: {float(equal):.4%}.",
    ]


def _many_classes(folder: Path) -> list[str]:
    write_bundle(folder, MANY_CLASSES)
    write_volume(folder, LARGE)
    run = run_ours(folder, MANY_CLASSES, "--labels-only")
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.told.items())
    return [
        f"**{MANY_CLASSES} classes**, {_told(LARGE)}, from DICOM to labels on the source grid: "
        f"{run.elapsed_s:.0f} s, {run.peak_mib:.0f} MiB ({stages})."
    ]


def _table(runs: dict[str, list[Run]]) -> list[str]:
    first = median(run.elapsed_s for run in next(iter(runs.values())))
    rows = []
    for name, of_name in runs.items():
        times = [run.elapsed_s for run in of_name]
        peak = max(run.peak_mib for run in of_name)
        spread = f"{min(times):.1f}-{max(times):.1f}"
        ratio = f"{first / median(times):.2f}"
        rows.append((name, f"{median(times):.1f}", spread, ratio, f"{peak:.0f}"))
    return markdown_table(("", "median s", "min-max s", "times as fast", "peak MiB"), rows)


def _told(size: Size) -> str:
    slices, rows, columns = size.shape
    return f"{columns} x {rows} x {slices} source"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _page(folder: Path, given: argparse.Namespace) -> list[str]:
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, `{command_line()}`", "", *machine_lines(folder), ""]
    (folder / "case").mkdir()
    lines += _whole_runs(folder / "case", QUICK if given.quick else CASE, given.rounds)
    if not given.quick:
        (folder / "large").mkdir()
        lines += ["", *_restores(folder, given.rounds), "", *_many_classes(folder / "large")]
    return lines


def main() -> None:
    """Measure, print the page, and write it where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one small round, to try it")
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
