"""The values of a heat map, as a Parametric Map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.parametric_map import MapRequest, build_parametric_map, decoded_frames
from pipelines.pages import Wanted
from pipelines.run import run_study
from storage.records import ObjectKind
from tests.integration.pipelines.explained_runs import (
    expected,
    offered,
    spots,
)
from tests.unit.pipelines.bright_spot import explained_classes
from tests.unit.pipelines.projections import DX, saved, x_ray
from tests.unit.pipelines.volume_files import write_series


def test_the_values_of_a_volumes_map_are_written_where_somebody_wants_them(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    wanted = Wanted(frozenset({ObjectKind.PM}))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    (made,) = (one for one in result.objects if one.kind is ObjectKind.PM)
    frames = decoded_frames(dcmread(tmp_path / "out" / made.path))
    shares = expected(spots())
    assert sorted(map(float, frames.max(axis=(1, 2)))) == pytest.approx(
        sorted(map(float, shares.max(axis=(1, 2)))), abs=1e-5
    )


def test_an_x_ray_has_no_values_to_write_and_its_result_goes_on(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 1200, (30, 26)).astype(np.uint16)
    saved(x_ray(pixels), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    registered = offered(tmp_path, changes, dimensions=2)
    wanted = Wanted(frozenset({ObjectKind.PM}))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    assert [one.kind for one in result.objects] == [ObjectKind.HEAT, ObjectKind.SR]


def test_a_map_that_is_not_proved_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flipped(request: MapRequest) -> Dataset:
        heat = replace(request.heat, values=request.heat.values[:, ::-1])
        return build_parametric_map(replace(request, heat=heat))

    monkeypatch.setattr("pipelines.results.build_parametric_map", flipped)
    write_series(tmp_path / "in", spots())
    wanted = Wanted(frozenset({ObjectKind.PM}))
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    with pytest.raises(ProofFailed, match="Parametric Map differs"):
        run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    assert list((tmp_path / "out").iterdir()) == []
