"""X-rays read as the definition of a test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.input_reading import read_input
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume
from tests.unit.pipelines.projections import write_x_ray

ANY = ReadingPolicy(kind="projection")

DISPLAYED = ReadingPolicy(kind="projection", values="displayed")


def read(tmp_path: Path, policy: ReadingPolicy = ANY, **attributes: Any) -> SeriesVolume:
    return read_input([write_x_ray(tmp_path / "in", **attributes)], policy)


def refused(tmp_path: Path, policy: ReadingPolicy = ANY, **attributes: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(tmp_path, policy, **attributes)
    return caught.value
