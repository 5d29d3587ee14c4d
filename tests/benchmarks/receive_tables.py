"""The tables of the receive benchmark: medians, ratios, CPU and memory."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.ct_studies import MB
from tests.benchmarks.page import markdown_table
from tests.benchmarks.receivers import ORTHANC, STORESCP, STORESCP_FORK, Receiver

_GB = 1000 * MB
_YARDSTICKS = (STORESCP, STORESCP_FORK, ORTHANC)


@dataclass(frozen=True, slots=True)
class Run:
    """One receiver once: seconds until the last sender was done, and its CPU seconds."""

    elapsed_s: float
    size_bytes: int
    cpu_s: float

    @property
    def cpu_s_per_gb(self) -> float:
        """CPU seconds for each 10**9 bytes of files."""
        return self.cpu_s * _GB / self.size_bytes


Times = MutableMapping[str, list[Run]]
"""The runs of one case by the name of the receiver."""


def case_lines(receivers: Sequence[Receiver], times: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the table of one case; a ratio of 2.0 means twice as fast as that receiver."""
    yardsticks = {name: _median_s(times[name]) for name in _YARDSTICKS if times.get(name)}
    head = ["receiver", "0x0000 means", "median s", "min-max s", "MB/s"]
    head += [f"x {name}" for name in yardsticks]
    rows = (_row(one, times[one.name], yardsticks) for one in receivers)
    return markdown_table([*head, "CPU s/GB"], rows)


def memory_lines(growth_bytes: Mapping[str, int]) -> list[str]:
    """Return the table of memory growth."""
    rows = ([name, f"{grown / MB:.0f}"] for name, grown in growth_bytes.items())
    return markdown_table(["receiver", "growth by the large object, MB"], rows)


def _row(receiver: Receiver, runs: Sequence[Run], yardsticks: Mapping[str, float]) -> list[str]:
    median_s = _median_s(runs)
    seconds = [run.elapsed_s for run in runs]
    return [
        receiver.name,
        receiver.promise,
        f"{median_s:.2f}",
        f"{min(seconds):.2f}-{max(seconds):.2f}",
        f"{runs[0].size_bytes / MB / median_s:.0f}",
        *(f"{yardstick_s / median_s:.2f}" for yardstick_s in yardsticks.values()),
        f"{median(run.cpu_s_per_gb for run in runs):.1f}",
    ]


def _median_s(runs: Sequence[Run]) -> float:
    return median(run.elapsed_s for run in runs)
