"""Reads the images of one input role as its definition wants them: a volume or a projection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.projection import read_projection
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series


def read_input(paths: Sequence[Path], policy: ReadingPolicy) -> SeriesVolume:
    """Read the files of one series, in any order. Raises `Refused`, `InferenceFailed`."""
    if policy.kind == "projection":
        return read_projection(paths, policy)
    return read_series(paths, policy)
