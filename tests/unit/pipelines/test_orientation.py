from __future__ import annotations

import numpy as np
import pytest

from pipelines.orientation import plane_of, slice_normal


@pytest.mark.parametrize(
    ("cosines", "plane"),
    [
        ((1, 0, 0, 0, 1, 0), "axial"),
        ((-1, 0, 0, 0, 1, 0), "axial"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((0, 0, 1, 0, 1, 0), "sagittal"),
    ],
)
def test_planes_are_named_by_the_body_axis_of_their_normal(
    cosines: tuple[int, ...], plane: str
) -> None:
    assert plane_of(cosines) == plane


@pytest.mark.parametrize(("degrees", "plane"), [(0, "axial"), (19, "axial"), (21, "oblique")])
def test_planes_beyond_twenty_degrees_are_oblique(degrees: float, plane: str) -> None:
    turn = np.radians(degrees)
    assert plane_of((1, 0, 0, 0, np.cos(turn), np.sin(turn))) == plane


def test_parallel_directions_have_no_normal() -> None:
    assert np.all(slice_normal((1, 0, 0, 1, 0, 0)) == 0)
