"""A result outside the body, or with its sides exchanged, fails however well it is written."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.errors import ProofFailed
from pipelines.objects.proof_anatomy import LeftRight, prove_in_body, prove_sides
from tests.unit.pipelines_objects.synthetic_series import OBLIQUE, classic_series

SHAPE = (6, 80, 90)
SPACING_MM = (5.0, 1.0, 1.0)
SEEN_FROM_THE_HEAD = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def body(background: float, tissue: float) -> NDArray[np.float32]:
    voxels = np.full(SHAPE, background, dtype=np.float32)
    voxels[1:5, 30:60, 20:50] = tissue
    return voxels


def labels(rows: slice, columns: slice, slices: slice = slice(2, 4)) -> NDArray[np.uint8]:
    values = np.zeros(SHAPE, dtype=np.uint8)
    values[slices, rows, columns] = 1
    return values


def prove(values: NDArray[np.uint8], voxels: NDArray[np.float32], modality: str) -> None:
    prove_in_body(values, voxels, modality=modality, spacing_mm=SPACING_MM)


@pytest.mark.parametrize(
    ("modality", "background", "tissue"), [("CT", -1000, 40), ("MR", 8, 300), ("PT", 0, 0.6)]
)
def test_a_result_must_lie_in_the_body(modality: str, background: float, tissue: float) -> None:
    voxels = body(background, tissue)
    prove(labels(slice(35, 50), slice(25, 45)), voxels, modality)
    prove(labels(slice(12, 78), slice(2, 68)), voxels, modality)  # within 20 mm of it
    with pytest.raises(ProofFailed, match="21 mm along the columns out of the body, allowed 20"):
        prove(labels(slice(35, 50), slice(25, 71)), voxels, modality)
    with pytest.raises(ProofFailed, match="22 mm along the rows"):
        prove(labels(slice(8, 50), slice(25, 45)), voxels, modality)


def test_a_picture_without_a_dark_border_is_body_throughout() -> None:
    voxels = np.random.default_rng(1).normal(100, 5, SHAPE).astype(np.float32)
    prove(labels(slice(0, 80), slice(0, 90), slice(0, 6)), voxels, "MR")


def two_sides(first: slice, second: slice) -> NDArray[np.uint8]:
    values = np.zeros((6, 24, 32), dtype=np.uint8)
    values[2:4, 5:9, first], values[2:5, 4:9, second] = 3, 4
    return values


LEFT_IS_3 = [LeftRight(left=3, right=4)]
LOW, HIGH = slice(2, 8), slice(20, 29)


@pytest.mark.parametrize(
    ("orientation", "left", "right"),
    [
        ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), HIGH, LOW),
        (SEEN_FROM_THE_HEAD, LOW, HIGH),
        (OBLIQUE, HIGH, LOW),
    ],
    ids=["axial", "axial, seen from the head", "oblique"],
)
def test_left_is_the_side_of_the_patient_and_not_of_the_picture(
    orientation: tuple[float, ...], left: slice, right: slice
) -> None:
    planes = classic_series(orientation=orientation).planes()
    prove_sides(two_sides(left, right), planes, LEFT_IS_3)
    with pytest.raises(ProofFailed, match="label value 3 is a left structure, but lies"):
        prove_sides(two_sides(right, left), planes, LEFT_IS_3)


def test_sides_of_sagittal_slices_go_by_the_slice() -> None:
    planes = classic_series(orientation=SAGITTAL).planes()
    values = np.zeros((6, 24, 32), dtype=np.uint8)
    low, high = (0, 5) if planes[0].position[0] < planes[5].position[0] else (5, 0)
    values[high, 3:8, 3:8], values[low, 3:8, 3:8] = 3, 4
    prove_sides(values, planes, LEFT_IS_3)
    with pytest.raises(ProofFailed, match="mirrored or exchanged"):
        prove_sides(values[::-1], planes, LEFT_IS_3)


def test_one_side_alone_proves_nothing() -> None:
    planes = classic_series().planes()
    prove_sides(np.where(two_sides(LOW, HIGH) == 3, 3, 0), planes, LEFT_IS_3)
    prove_sides(two_sides(LOW, HIGH), planes, [])
