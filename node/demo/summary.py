"""The demo's result for programs: one JSON file with every figure of the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node.demo.expectations import Repeat
from node.demo.results import StudyResult


def write_summary(
    folder: Path,
    results: Sequence[StudyResult],
    repeat: Repeat,
    missing: Sequence[str],
    elapsed_s: float,
) -> Path:
    """Write `summary.json`; paths in it count from its folder."""
    content = {
        "elapsed_s": round(elapsed_s, 1),
        "shortcomings": list(missing),
        "studies": [_study(result, folder) for result in results],
        "repeat": {**asdict(repeat), "added_nothing": repeat.added_nothing},
    }
    path = folder / "summary.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def _study(result: StudyResult, folder: Path) -> Mapping[str, Any]:
    job = result.view.job
    return {
        "number": result.study.number,
        "title": result.study.title,
        "outcome": result.outcome,
        "expected": result.study.expected,
        "reason": job.reason_text if job else "",
        "complete_evidence": result.view.study.complete_evidence if result.view.study else "",
        "series": result.series_description,
        "series_reason": result.series_reason,
        "volumes_ml": _rounded(result.volumes_ml),
        "dice": _rounded(result.dices),
        "pacs": dict(result.pacs),
        "ehr_reports": len(result.ehr),
        "seconds": _rounded(result.seconds),
        "files": {kind: str(path.relative_to(folder)) for kind, path in result.files.items()},
    }


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
