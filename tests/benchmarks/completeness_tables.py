"""The table of the completeness benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.page import markdown_table

_HEAD = (
    "case",
    "studies",
    "decided by",
    "job queued, median s",
    "max s",
    "job started, median s",
    "max s",
    "started after the association's end, min s",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One study: seconds after its last C-STORE response, and after its association's end."""

    evidence: str
    queued_s: float
    started_s: float
    after_association_s: float


def arrival_lines(results: Mapping[str, Sequence[Arrival]], quiet_time_s: float) -> list[str]:
    """Return the table, seconds counted from each study's last C-STORE response."""
    rows = (_row(name, arrivals) for name, arrivals in results.items() if arrivals)
    table = markdown_table(_HEAD, rows)
    return [f"Quiet time {quiet_time_s:g} s; seconds from the last C-STORE response.", "", *table]


def _row(name: str, arrivals: Sequence[Arrival]) -> list[str]:
    queued_s = [arrival.queued_s for arrival in arrivals]
    started_s = [arrival.started_s for arrival in arrivals]
    return [
        name,
        str(len(arrivals)),
        ", ".join(sorted({arrival.evidence for arrival in arrivals})),
        f"{median(queued_s):.2f}",
        f"{max(queued_s):.2f}",
        f"{median(started_s):.2f}",
        f"{max(started_s):.2f}",
        f"{min(arrival.after_association_s for arrival in arrivals):.2f}",
    ]
