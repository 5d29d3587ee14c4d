"""One run of radnode's side of the inference benchmark, in a process of its own.

`python -m tests.benchmarks.infer_once FOLDER CLASSES [--labels-only | --warm]` prints stage times
as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter

from pipelines.run import run_study  # isort: skip -- first, as in the program
import torch

from pipelines.bundle import load_bundle
from pipelines.kept_memory import kept_memory
from pipelines.preprocessing import preprocessed
from pipelines.registry import register
from pipelines.segmenting import segmented
from pipelines.series_volume import read_series
from pipelines.stages import StageTimes
from tests.benchmarks.infer_case import pipeline
from tests.benchmarks.infer_sizes import NAME


def _whole(folder: Path, classes: int) -> dict[str, float]:
    registered = register(pipeline(classes), folder)
    result = run_study(registered, folder / "dicom", folder / "ours")
    return dict(result.stage_times_s)


def _labels(folder: Path) -> dict[str, float]:
    times = StageTimes()
    with times.stage("read"):
        volume = read_series(sorted((folder / "dicom").iterdir()))
    bundle = load_bundle(folder / NAME, torch.device("cpu"))
    with times.stage("preprocess"):
        data = preprocessed({"image": volume}, bundle)
    with kept_memory():
        segmented(data, bundle, volume, times)
    return times.seconds


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("classes", type=int)
    parser.add_argument("--labels-only", action="store_true", help="no SEG, no SR")
    parser.add_argument("--warm", action="store_true", help="tell of a second run alone")
    given = parser.parse_args()
    if given.warm:
        _whole(given.folder, given.classes)
    started = perf_counter()
    times = _labels(given.folder) if given.labels_only else _whole(given.folder, given.classes)
    sys.stdout.write(json.dumps({**times, "all": perf_counter() - started}) + "\n")


if __name__ == "__main__":
    main()
