"""Heat maps as Parametric Maps: written, read by others, and proved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.heat_map import HeatMap
from pipelines.objects.identity import ResultIdentity
from pipelines.objects.parametric_map import (
    MapRequest,
    build_parametric_map,
    decoded_frames,
    prove_parametric_map,
)
from pipelines.objects.write import write_object
from pipelines.projection import read_projection
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series
from tests.peers.dicom_checkers import dciodvfy
from tests.unit.pipelines.projections import write_x_ray
from tests.unit.pipelines.volume_files import write_series
from tests.unit.pipelines_objects.result_requests import ORIGIN

IDENTITY = ResultIdentity("2.25.71", "2.25.72", 9010, "AI heat map values")
ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "mirrored": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "transposed": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
}


def request_of(volume: SeriesVolume) -> MapRequest:
    values = np.random.default_rng(5).random(volume.voxels.shape).astype(np.float32)
    heat = HeatMap("Cyst", 1, "image", "2.25.9", 87.5, "Grad-CAM", "at layer 1", values)
    return MapRequest(volume, heat, IDENTITY, "2.25.73", 1, ORIGIN)


def volume_in(folder: Path, orientation: str = "axial") -> SeriesVolume:
    voxels = np.random.default_rng(2).integers(0, 900, (6, 12, 10)).astype(np.uint16)
    return read_series(write_series(folder, voxels, orientation=ORIENTATIONS[orientation]))


def written(folder: Path, request: MapRequest) -> Path:
    write_object(build_parametric_map(request), folder / "pm.dcm")
    return folder / "pm.dcm"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_values_lie_on_the_slices_of_the_source(tmp_path: Path, orientation: str) -> None:
    request = request_of(volume_in(tmp_path / "in", orientation))
    path = written(tmp_path, request)
    prove_parametric_map(path, request)
    read = hd.pm.ParametricMap.from_dataset(dcmread(path))
    geometry = read.get_volume_geometry()
    assert geometry is not None
    assert geometry.spatial_shape == request.heat.values.shape
    volume = read.get_volume()
    at = np.linalg.inv(volume.affine) @ request.volume.affine_lps
    for index in ((0, 0, 0), (3, 7, 2), (5, 11, 9)):
        there = np.rint(at @ np.asarray([*index, 1.0]))[:3].astype(int)
        assert volume.array[tuple(there)] == pytest.approx(request.heat.values[index])


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    request = request_of(volume_in(tmp_path / "in"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (written(tmp_path / name, request) for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


FAULTS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "slices": lambda values: values[::-1],
    "rows": lambda values: values[:, ::-1],
    "columns": lambda values: values[:, :, ::-1],
    "one value": lambda values: np.where(np.indices(values.shape).sum(axis=0) == 0, 0.0, values),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_map_that_lies_otherwise_is_not_sent(tmp_path: Path, fault: str) -> None:
    request = request_of(volume_in(tmp_path / "in"))
    values = FAULTS[fault](request.heat.values).astype(np.float32)
    wrong = replace(request, heat=replace(request.heat, values=values))
    path = written(tmp_path, wrong)
    with pytest.raises(ProofFailed, match="differs from the heat map"):
        prove_parametric_map(path, request)


def test_a_frame_that_is_placed_elsewhere_is_not_sent(tmp_path: Path) -> None:
    request = request_of(volume_in(tmp_path / "in"))
    path = written(tmp_path, request)
    found: Dataset = dcmread(path)
    place = found.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    place.ImagePositionPatient = [value + 1.3 for value in place.ImagePositionPatient]
    found.save_as(path)
    with pytest.raises(ProofFailed, match="lies on no slice"):
        prove_parametric_map(path, request)


def test_an_x_ray_has_no_place_for_one(tmp_path: Path) -> None:
    x_ray = read_projection([write_x_ray(tmp_path)], ReadingPolicy(kind="projection"))
    with pytest.raises(ValueError, match="no frame of reference"):
        build_parametric_map(request_of(x_ray))


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_has_nothing_to_say_about_it(tmp_path: Path) -> None:
    request = request_of(volume_in(tmp_path / "in"))
    path = written(tmp_path, request)
    assert decoded_frames(dcmread(path)).shape == request.heat.values.shape
    # Its tables do not know QUANTITY (PS3.3 C.8.32.2) yet.
    told = [one for one in dciodvfy(path) if "<QUANTITY>" not in one]
    assert told == ["ParametricMap"]
