"""Inputs of one examination are brought onto the grid of the first, or refused with figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.common_grid import on_one_grid
from pipelines.errors import RefusalCode, Refused
from pipelines.series_volume import SeriesVolume
from tests.unit.pipelines.label_map_cases import volume
from tests.unit.pipelines.test_tilt import body, leaning, places

AXIAL = np.asarray([1.0, 0, 0, 0, 1, 0])
CORONAL = np.asarray([1.0, 0, 0, 0, 0, -1])


def seen(
    shape: tuple[int, int, int],
    origin: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    orientation: NDArray[Any] = AXIAL,
) -> SeriesVolume:
    """The same body on a grid of its own."""
    empty = volume(np.zeros(shape), orientation, np.asarray(origin), spacing_mm=spacing_mm)
    voxels = body(*places(empty)).astype(np.float32)
    return SeriesVolume(voxels, empty.geometry, empty.source)


FIRST = seen((8, 20, 18), (2.0, 3.0, 5.0), (2.0, 1.0, 1.1))


def refusal(other: SeriesVolume) -> Refused:
    with pytest.raises(Refused) as caught:
        on_one_grid({"t1": FIRST, "flair": other})
    return caught.value


@pytest.mark.parametrize(
    "other",
    [
        seen((30, 40, 40), (0.0, 0.0, 0.0), (1.0, 0.7, 0.9)),
        seen((30, 12, 40), (-2.0, 0.0, 30.0), (1.0, 3.0, 0.9), CORONAL),
        seen((12, 30, 30), (0.5, 0.5, 0.5), (2.0, 1.0, 1.1)),
    ],
    ids=["finer", "coronal", "shifted"],
)
def test_another_sequence_has_the_values_of_its_place_on_the_first_grid(
    other: SeriesVolume,
) -> None:
    result = on_one_grid({"t1": FIRST, "flair": other})
    assert list(result) == ["t1", "flair"]
    assert result["t1"] is FIRST
    moved = result["flair"]
    assert np.array_equal(moved.affine_lps, FIRST.affine_lps)
    assert moved.headers == other.headers
    assert np.allclose(moved.voxels, FIRST.voxels, atol=1e-2)


def test_volumes_on_one_grid_are_left_alone() -> None:
    other = SeriesVolume(FIRST.voxels + 1, FIRST.geometry, FIRST.source)
    assert on_one_grid({"t1": FIRST, "flair": other})["flair"] is other


def test_a_tilted_first_input_gives_the_upright_grid_for_all() -> None:
    tilted = leaning(np.zeros((6, 12, 10)), (-0.9, 0.0))
    result = on_one_grid({"plain": tilted, "contrast": tilted})
    assert not result["plain"].geometry.is_tilted
    assert result["contrast"].voxels.shape == result["plain"].voxels.shape


def test_another_frame_of_reference_is_refused() -> None:
    other = volume(np.zeros((8, 20, 18)), AXIAL, np.zeros(3), frame_of_reference="2.25.4")
    assert refusal(other).code is RefusalCode.MIXED_FRAMES_OF_REFERENCE


def test_a_sequence_that_covers_too_little_is_refused_with_its_share() -> None:
    refused = refusal(seen((8, 20, 18), (2.0, 13.0, 5.0), (2.0, 1.0, 1.1)))
    assert refused.code is RefusalCode.DIFFERENT_GRIDS
    assert "flair covers 50 % of the first input's field, at least 75 %" in refused.text
