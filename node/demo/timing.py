"""Seconds from the first image to the last delivery, by stage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from node.demo.node_view import NodeView

COLUMNS = ("complete", "waiting", "read", "prepare", "infer", "objects", "deliver", "total")
"""`complete`: last image until taken to be complete; `waiting`: from there to a worker;
`objects`: measuring, making and proving SEG and SR; `total`: first image to last delivery."""

COLUMN_OF_STAGE = {
    "read": "read",
    "load_model": "prepare",
    "preprocess": "prepare",
    "inference": "infer",
    "restore": "infer",
    "restore_by_bundle": "infer",
}
"""Stages of a job that are not `objects`."""


def seconds(view: NodeView) -> Mapping[str, float]:
    """Return the seconds of each of `COLUMNS` that the study went through."""
    study, job = view.study, view.job
    if study is None or job is None:
        return {}
    times = {
        "complete": _between(study.last_received_at, study.complete_at),
        "waiting": _between(study.complete_at, job.started_at),
        "deliver": _between(job.finished_at, view.settled_at) if view.deliveries else None,
        "total": _between(study.first_received_at, view.settled_at),
        **_of_the_job(job.stage_times_s),
    }
    return {name: time for name in COLUMNS if (time := times.get(name)) is not None}


def _of_the_job(stage_times_s: Mapping[str, float]) -> dict[str, float]:
    times: dict[str, float] = {}
    for stage, time in stage_times_s.items():
        column = COLUMN_OF_STAGE.get(stage, "objects")
        times[column] = times.get(column, 0.0) + time
    return times


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
