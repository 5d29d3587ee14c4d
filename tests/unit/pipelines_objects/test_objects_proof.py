"""A proof that lets a wrong SEG pass is worse than none: every fault here must be caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.decoded_segmentation import decode_segmentation
from pipelines.objects.source_series import SourceSeries
from tests.unit.pipelines_objects.proved_objects import Labels, proved
from tests.unit.pipelines_objects.result_requests import label_map
from tests.unit.pipelines_objects.synthetic_series import (
    AXIAL,
    OBLIQUE,
    STEP_MM,
    classic_series,
    enhanced_series,
    regular_positions,
    tilted_positions,
)

SHAPE = (6, 24, 32)

GAPPED = [regular_positions(9)[index] for index in (0, 1, 2, 4, 5, 8)]


def affine(slices: int = 6) -> NDArray[np.float64]:
    """Grid of the regular oblique series: (slice, row, column, 1) to LPS mm."""
    positions = regular_positions(slices)
    matrix = np.eye(4)
    matrix[:3, 0] = positions[1] - positions[0]
    matrix[:3, 1] = np.asarray(OBLIQUE[3:]) * 0.9
    matrix[:3, 2] = np.asarray(OBLIQUE[:3]) * 0.8
    matrix[:3, 3] = positions[0]
    return matrix


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        (classic_series(), label_map()),
        (classic_series(), np.where(label_map() == 2, 2, 0).astype(np.uint8)),
        (enhanced_series(), label_map()),
        (enhanced_series(per_frame=True, reverse=False), label_map()),
        (classic_series(orientation=AXIAL, positions=tilted_positions(6)), label_map()),
        (classic_series(positions=GAPPED), label_map()),
        (classic_series((5, 23, 29)), label_map((5, 23, 29))),
        (classic_series((3, 5, 7)), label_map((3, 5, 7))),
    ],
    ids=[
        "two segments",
        "one segment",
        "enhanced",
        "enhanced, geometry per frame",
        "tilted",
        "gapped",
        "odd matrix",
        "tiny odd matrix",
    ],
)
def test_what_was_written_is_what_was_computed(
    tmp_path: Path, source: SourceSeries, labels: Labels
) -> None:
    decoded = proved(tmp_path, source, labels)
    assert sum(int(frame.mask.sum()) for frame in decoded.frames) == np.count_nonzero(labels)


def test_the_grid_of_the_volume_is_proved_too(tmp_path: Path) -> None:
    proved(tmp_path, classic_series(), label_map(), affine_lps=affine())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_label_map_on_any_matrix_passes_and_counts_the_same(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.tuples(st.integers(2, 4), st.integers(1, 9), st.integers(1, 9))))
    voxels = data.draw(
        st.lists(st.integers(0, 3), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    labels = np.asarray(voxels, dtype=np.uint8).reshape(shape)
    labels[0, 0, 0] = 1
    with TemporaryDirectory() as folder:
        decoded = proved(Path(folder), classic_series((shape[0], shape[1], shape[2])), labels)
    values = [value for value in (1, 2) if (labels == value).any()]
    for number, value in enumerate(values, 1):
        assert decoded.voxel_count(number) == np.count_nonzero(labels == value)


@settings(max_examples=25, deadline=None)
@given(bit=st.integers(min_value=0))
def test_a_single_voxel_too_many_or_too_few_is_caught(bit: int) -> None:
    def flip(seg: Dataset) -> None:
        voxels = bytearray(seg.PixelData)
        place = bit % (int(seg.NumberOfFrames) * SHAPE[1] * SHAPE[2])
        voxels[place // 8] ^= 1 << place % 8
        seg.PixelData = bytes(voxels)

    with TemporaryDirectory() as folder, pytest.raises(ProofFailed, match="differs in 1 voxels"):
        proved(Path(folder), classic_series(), label_map(), flip)


@pytest.mark.parametrize(
    "change",
    [
        lambda grid: grid @ np.diag([1.0, 1.0, -1.0, 1.0]),
        lambda grid: grid @ np.diag([-1.0, 1.0, 1.0, 1.0]),
        lambda grid: grid[:, [0, 2, 1, 3]],
        lambda grid: np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid,
        lambda grid: grid + np.asarray([[0, 0, 0, 1.0]] * 3 + [[0, 0, 0, 0]]),
    ],
    ids=["mirrored columns", "reversed slices", "rows for columns", "RAS for LPS", "shifted"],
)
def test_a_volume_on_another_grid_than_its_images_is_caught(
    tmp_path: Path, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    with pytest.raises(ProofFailed, match="the grid lies"):
        proved(tmp_path, classic_series(), label_map(), affine_lps=change(affine()))


def test_volume_and_count_come_from_the_file_alone(tmp_path: Path) -> None:
    labels = label_map()
    proved(tmp_path, classic_series(), labels)
    decoded = decode_segmentation(tmp_path / "seg.dcm")
    assert decoded.voxel_volume_ml == pytest.approx(0.9 * 0.8 * STEP_MM / 1000)
    assert decoded.voxel_count(1) == np.count_nonzero(labels == 1)
