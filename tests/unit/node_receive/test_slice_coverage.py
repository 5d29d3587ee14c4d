from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from node.slice_coverage import has_no_gap

AXIAL = [1, 0, 0, 0, 1, 0]


def _slice(z_mm: float, cosines: list[float] | None = None) -> Dataset:
    header = Dataset()
    header.ImagePositionPatient = [1.5, -20.0, z_mm]
    header.ImageOrientationPatient = cosines or AXIAL
    return header


def test_an_even_stack_has_no_gap_in_any_order() -> None:
    assert has_no_gap([_slice(z) for z in (3.0, 0.0, 6.0, 1.5, 4.5)])


def test_uneven_spacing_is_no_gap() -> None:
    assert has_no_gap([_slice(z) for z in (0.0, 1.0, 2.2, 3.0, 4.1)])


def test_a_missing_slice_is_one() -> None:
    assert not has_no_gap([_slice(z) for z in (0.0, 1.0, 2.0, 4.0, 5.0)])


def test_phases_at_all_positions_are_whole_and_at_some_are_not() -> None:
    phases = [_slice(z) for z in (0.0, 1.0, 2.0, 3.0) for _ in range(3)]

    assert has_no_gap(phases)
    assert not has_no_gap(phases[:-1])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_so_few_slices_say_nothing(count: int) -> None:
    assert not has_no_gap([_slice(float(z)) for z in range(count)])


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_slices_without_geometry_say_nothing(keyword: str) -> None:
    slices = [_slice(float(z)) for z in range(5)]
    delattr(slices[2], keyword)

    assert not has_no_gap(slices)


@pytest.mark.parametrize("position", [[0, 0], [0, 0, float("nan")], None])
def test_positions_that_are_none_say_nothing(position: list[float] | None) -> None:
    slices = [_slice(float(z)) for z in range(5)]
    slices[2].ImagePositionPatient = position

    assert not has_no_gap(slices)


@settings(max_examples=50)
@given(st.integers(5, 60), st.floats(0.3, 10), st.data())
def test_any_inner_slice_is_missed(count: int, spacing_mm: float, data: st.DataObject) -> None:
    slices = [_slice(number * spacing_mm) for number in range(count)]
    assert has_no_gap(slices)
    del slices[data.draw(st.integers(1, count - 2))]
    assert not has_no_gap(slices)
