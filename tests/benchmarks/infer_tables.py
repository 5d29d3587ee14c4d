"""Tables of the inference benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tests.benchmarks.infer_runs import Run
from tests.benchmarks.page import markdown_table

HEAD = ("", "median s", "min-max s", "times as fast", "CPU s", "times less CPU", "peak MiB")


def table(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """A row for each program; ratios are to the first one's medians."""
    first = next(iter(runs.values()))
    rows = []
    for name, of_name in runs.items():
        times = [run.elapsed_s for run in of_name]
        rows.append(
            (
                name,
                f"{median(times):.1f}",
                f"{min(times):.1f}-{max(times):.1f}",
                f"{_median(first, 'elapsed_s') / median(times):.2f}",
                f"{_median(of_name, 'cpu_s'):.1f}",
                f"{_median(first, 'cpu_s') / _median(of_name, 'cpu_s'):.2f}",
                f"{max(run.peak_mib for run in of_name):.0f}",
            )
        )
    return markdown_table(HEAD, rows)


def stages_line(told: Mapping[str, float]) -> str:
    """Seconds by stage, in the order of the run."""
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in told.items())


def _median(runs: Sequence[Run], figure: str) -> float:
    return float(median(getattr(run, figure) for run in runs))
