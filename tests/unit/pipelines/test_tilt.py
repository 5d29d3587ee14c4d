"""A leaning stack is straightened for the model, and its labels lean again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.geometry import SlicePlane, arrange
from pipelines.objects.source_series import SourceSeries
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series
from pipelines.tilt import lean_of, leaning_again, straightened
from tests.unit.pipelines.volume_files import write_series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def leaning(
    voxels: NDArray[Any], drift_mm: tuple[float, float], *, modality: str = "CT"
) -> SeriesVolume:
    """Axial slices 3 mm apart of 0.5 x 0.8 mm pixels; each drifts in y and x against the last."""
    planes = [
        SlicePlane(
            (index * drift_mm[1], index * drift_mm[0], 3.0 * index),
            AXIAL,
            (0.5, 0.8),
            *voxels.shape[1:],
        )
        for index in range(len(voxels))
    ]
    header = Dataset()
    header.Modality, header.FrameOfReferenceUID = modality, "2.25.3"
    source = SourceSeries((header,) * len(voxels))
    return SeriesVolume(voxels.astype(np.float32), arrange(planes, allow_tilt=True), source)


def body(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    """Something smooth in the patient, in LPS mm."""
    values: NDArray[Any] = 3.0 * x - 2.0 * y + 5.0 * z
    return values


def places(volume: SeriesVolume) -> NDArray[np.float64]:
    index = np.indices(volume.voxels.shape).reshape(3, -1)
    found: NDArray[np.float64] = (
        volume.affine_lps[:3, :3] @ index + volume.affine_lps[:3, 3:]
    ).reshape(3, *volume.voxels.shape)
    return found


def test_every_voxel_of_the_straight_grid_has_the_value_of_its_place() -> None:
    tilted = leaning(np.zeros((6, 20, 16)), (-0.9, 0.35))
    tilted = SeriesVolume(body(*places(tilted)).astype(np.float32), tilted.geometry, tilted.source)
    upright = straightened(tilted)
    assert not upright.geometry.is_tilted
    steps = upright.affine_lps[:3, :3]
    assert np.allclose(steps.T @ steps, np.diag(np.diag(steps.T @ steps)))
    covered = upright.voxels > -1024
    inner = np.zeros_like(covered)
    inner[:, 2:-2, 2:-2] = covered[:, 2:-2, 2:-2]
    inner &= np.isclose(upright.voxels, body(*places(upright)), atol=20)
    assert inner.sum() > 0.7 * tilted.voxels.size
    assert np.allclose(upright.voxels[inner], body(*places(upright))[inner], atol=1e-3)


@given(
    st.floats(-1.4, 1.4).filter(lambda mm: abs(mm) > 0.05),
    st.floats(-1.4, 1.4),
    st.integers(3, 7),
    st.integers(0, 2**32 - 1),
)
def test_labels_of_the_straight_grid_come_back_to_their_pixels(
    down_mm: float, along_mm: float, slices: int, seed: int
) -> None:
    tilted = leaning(np.zeros((slices, 9, 11)), (down_mm, along_mm))
    labels = np.random.default_rng(seed).integers(0, 4, tilted.voxels.shape).astype(np.uint8)
    lean = lean_of(tilted)
    straight = np.zeros(lean.shape, dtype=np.uint8)
    for number in range(slices):
        down, along = np.rint(lean.shift(number)).astype(int)
        straight[number, down : down + 9, along : along + 11] = labels[number]
    assert straightened(tilted).voxels.shape == lean.shape
    assert np.array_equal(leaning_again(straight, tilted), labels)


def test_an_upright_volume_is_left_alone() -> None:
    upright = leaning(np.arange(3.0 * 4 * 5).reshape(3, 4, 5), (0.0, 0.0))
    labels = np.ones((3, 4, 5), dtype=np.uint8)
    assert straightened(upright) is upright
    assert leaning_again(labels, upright) is labels


def tilted_files(folder: Path, degrees: float) -> list[Path]:
    lean_mm = float(np.tan(np.radians(degrees)))

    def edit(image: Dataset, index: int) -> None:
        image.ImagePositionPatient = [0, round(index * lean_mm, 6), index]

    stored = np.arange(5 * 12 * 14, dtype=np.int16).reshape(5, 12, 14)
    return write_series(folder, stored, modality="CT", edit=edit)


def test_a_tilt_is_refused_with_its_degrees_unless_it_is_allowed(tmp_path: Path) -> None:
    paths = tilted_files(tmp_path, 18.5)
    with pytest.raises(Refused, match=r"18\.5 degrees off their normal, allowed 0\.5") as caught:
        read_series(paths)
    assert caught.value.code is RefusalCode.GANTRY_TILT
    volume = read_series(paths, ReadingPolicy(allow_tilt=True))
    assert volume.geometry.tilt_degrees == pytest.approx(18.5, abs=0.01)
    assert volume.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert volume.geometry.voxel_volume_ml == pytest.approx(0.001)


def test_a_tilt_that_no_gantry_has_is_refused_even_where_tilt_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"60\.0 degrees off their normal, allowed 45"):
        read_series(tilted_files(tmp_path, 60), ReadingPolicy(allow_tilt=True))
