"""Single runs of the inference benchmark: MONAI's own runner and radnode, each a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks import measured
from tests.benchmarks.infer_sizes import NAME, SIZES

SOURCE_TREE = Path(__file__).parents[2]
NO_VARIABLES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Run:
    """Wall clock, CPU (user and system) and most resident memory of one process.

    `told` is the JSON that it printed last.
    """

    elapsed_s: float
    cpu_s: float
    peak_mib: float
    told: dict[str, float]


def timed(
    module_or_code: list[str], cwd: Path = SOURCE_TREE, variables: Mapping[str, str] = NO_VARIABLES
) -> Run:
    """Run Python with these arguments, and variables of its environment, to its end.

    Raises `RuntimeError` with its last words when it fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(SOURCE_TREE), **variables}
    # Installed programs have their byte code; neither side shall compile itself at every start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        starter = [sys.executable, "-I", "-S", str(measured.__file__), str(figures)]
        done = subprocess.run(
            [*starter, sys.executable, *module_or_code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=cwd,
            check=False,
        )
        lines = done.stdout.splitlines()
        if done.returncode:
            raise RuntimeError("\n".join(lines[-20:]))
        return Run(**json.loads(figures.read_text()), told=_told(lines))


def _told(lines: list[str]) -> dict[str, float]:
    found = [line for line in lines if line.startswith("{")]
    return json.loads(found[-1]) if found else {}


def run_stock(folder: Path, classes: int) -> Run:
    """MONAI's own runner on the NIfTI file."""
    del classes  # its bundle knows
    bundle = folder / NAME
    rmtree(folder / "stock", ignore_errors=True)
    options = {
        "config_file": str(bundle / "configs" / "inference.json"),
        "bundle_root": str(bundle),
        "dataset_dir": str(folder / "nifti"),
        "output_dir": str(folder / "stock"),
    }
    # What `python -m monai.bundle run` calls; its command line needs one package more.
    return timed(["-c", f"from monai.bundle import run; run(**{options})"], folder)


def run_ours(folder: Path, classes: int, *options: str) -> Run:
    """radnode on the DICOM files."""
    rmtree(folder / "ours", ignore_errors=True)
    return timed(["-m", "tests.benchmarks.infer_once", str(folder), str(classes), *options])


def prepare(folder: Path, classes: int, size: str) -> None:
    """Write bundle and volume below `folder`."""
    folder.mkdir(exist_ok=True)
    timed(["-m", "tests.benchmarks.infer_case", str(folder), str(classes), size])


def share_equal(folder: Path) -> float:
    """Voxels of the SEG that are as in MONAI's NIfTI, from 0 to 1."""
    return timed(["-m", "tests.benchmarks.infer_equal", str(folder)]).told["equal"]


def run_restore(way: str, classes: int, size: str, folder: Path) -> Run:
    """Going back to the source grid; the figures are of that alone. Writes `folder`/`way`.npy."""
    out = folder / f"{way}.npy"
    command = ["-m", "tests.benchmarks.restore_once", way, str(classes), size, str(out)]
    # As `pipelines.first_imports` sets it in every process that runs pipelines.
    variables = {"OMP_WAIT_POLICY": "PASSIVE"} if way == "ours" else {}
    run = timed(command, variables=variables)
    return Run(run.told["s"], run.told["cpu_s"], run.told["mib"], {})


@dataclass(frozen=True, eq=False)
class RestoredSlices:
    """Labels [column, row, slice] by radnode and by MONAI, of `count` slices."""

    count: int
    ours: NDArray[np.uint8]
    stock: NDArray[np.uint8]


def restored_slices(folder: Path, size: str) -> RestoredSlices:
    """What `run_restore` wrote as `ours` and as `slices`."""
    indices = SIZES[size].checked_slices()
    ours = np.load(folder / "ours.npy", mmap_mode="r")
    return RestoredSlices(len(indices), ours[..., indices], np.load(folder / "slices.npy"))
