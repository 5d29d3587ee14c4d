"""Laws of slice geometry, and the figures at which each gate closes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.errors import RefusalCode, Refused
from pipelines.geometry import SlicePlane, arrange

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FEET_FIRST_LOOK = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
Array = NDArray[np.float64]


def stack(
    count: int = 8,
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing_mm: float = 2.5,
    origin: tuple[float, float, float] = (-40.0, -30.0, 12.0),
) -> list[SlicePlane]:
    normal = np.cross(orientation[:3], orientation[3:])
    positions = [np.asarray(origin) + k * spacing_mm * normal for k in range(count)]
    return [plane_at(position, orientation) for position in positions]


def plane_at(position: Array, orientation: tuple[float, ...] = AXIAL) -> SlicePlane:
    x, y, z = (float(value) for value in position)
    a, b, c, d, e, f = orientation
    return SlicePlane((x, y, z), (a, b, c, d, e, f), (0.9, 0.8), 24, 32)


@st.composite
def orientations(draw: st.DrawFn) -> tuple[float, ...]:
    angles = [draw(st.floats(-np.pi, np.pi)) for _ in range(3)]
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        first, second = (index for index in range(3) if index != axis)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    return tuple(float(value) for value in (*rotation[0], *rotation[1]))


@st.composite
def regular_stacks(draw: st.DrawFn) -> list[SlicePlane]:
    return stack(
        draw(st.integers(3, 30)),
        orientation=draw(orientations()),
        spacing_mm=draw(st.floats(0.3, 12.0)),
        origin=draw(st.tuples(*[st.floats(-500, 500)] * 3)),
    )


@given(regular_stacks(), st.randoms(use_true_random=False))
def test_the_order_in_which_slices_come_changes_nothing(
    planes: list[SlicePlane], random: st.DataObject
) -> None:
    shuffled = list(planes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected, found = arrange(planes), arrange(shuffled)
    assert np.allclose(found.affine_lps, expected.affine_lps, atol=1e-9)
    assert [shuffled[index] for index in found.order] == [planes[i] for i in expected.order]


@given(regular_stacks())
def test_counting_slices_from_the_other_end_changes_nothing(planes: list[SlicePlane]) -> None:
    assert np.allclose(arrange(planes[::-1]).affine_lps, arrange(planes).affine_lps, atol=1e-9)


@given(regular_stacks())
def test_the_affine_takes_every_slice_to_its_own_position(planes: list[SlicePlane]) -> None:
    geometry = arrange(planes)
    for number, index in enumerate(geometry.order):
        found = geometry.affine_lps @ [number, 0, 0, 1]
        assert found[:3] == pytest.approx(planes[index].position, abs=1e-6)


@given(regular_stacks(), st.integers(0, 23), st.integers(0, 31))
def test_the_affine_follows_the_plane_equation_of_the_standard(
    planes: list[SlicePlane], row: int, column: int
) -> None:
    geometry = arrange(planes)
    plane = planes[geometry.order[1]]
    along_row, down_column = np.reshape(plane.orientation, (2, 3))
    expected = (
        np.asarray(plane.position)
        + along_row * plane.pixel_spacing[1] * column
        + down_column * plane.pixel_spacing[0] * row
    )
    assert (geometry.affine_lps @ [1, row, column, 1])[:3] == pytest.approx(expected, abs=1e-6)


@given(regular_stacks())
def test_slices_run_along_row_direction_cross_column_direction(planes: list[SlicePlane]) -> None:
    slices, rows, columns = arrange(planes).affine_lps[:3, :3].T
    assert np.cross(columns, rows) @ slices > 0


@given(st.integers(6, 30), st.data())
def test_slices_that_are_missing_inside_are_counted(count: int, data: st.DataObject) -> None:
    planes = stack(count)
    del planes[data.draw(st.integers(1, count - 2))]
    with pytest.raises(Refused, match=r"missing_slices: 1 missing in 1 gaps; median .* 2\.5 mm"):
        arrange(planes)


def test_a_wide_gap_counts_every_slice_that_is_missing() -> None:
    planes = stack(12)
    del planes[4:7]
    with pytest.raises(Refused, match="missing_slices: 3 missing in 1 gaps"):
        arrange(planes)


def test_a_stack_without_its_outer_slices_is_still_a_volume() -> None:
    assert arrange(stack(8)[2:-1]).spacing_mm == pytest.approx((2.5, 0.9, 0.8))


@pytest.mark.parametrize(("shift_mm", "is_even"), [(0.04, True), (0.06, False), (1.0, False)])
def test_spacing_may_vary_by_five_hundredths_of_a_millimetre(
    shift_mm: float, is_even: bool
) -> None:
    planes = stack(9)
    x, y, z = planes[4].position
    planes[4] = replace(planes[4], position=(x, y, z + shift_mm))
    if is_even:
        assert arrange(planes).spacing_mm[0] == pytest.approx(2.5)
    else:
        with pytest.raises(Refused, match="uneven_spacing"):
            arrange(planes)


@pytest.mark.parametrize(("degrees", "is_straight"), [(0.4, True), (0.6, False), (18.5, False)])
def test_a_stack_may_lean_by_half_a_degree(degrees: float, is_straight: bool) -> None:
    lean = np.tan(np.radians(degrees)) * 2.5
    planes = [plane_at(np.asarray([0.0, k * lean, k * 2.5])) for k in range(8)]
    if is_straight:
        arrange(planes)
    else:
        with pytest.raises(Refused, match=rf"gantry_tilt: .* {degrees:.1f} degrees"):
            arrange(planes)


def test_a_slice_that_is_shifted_sideways_is_off_the_stack() -> None:
    planes = stack(9)
    x, y, z = planes[4].position
    planes[4] = replace(planes[4], position=(x + 3.0, y, z))
    with pytest.raises(Refused, match="uneven_spacing: slices lie up to 3 mm off"):
        arrange(planes)


def test_several_slices_at_one_position_are_refused() -> None:
    with pytest.raises(Refused, match="duplicate_positions: 16 slices lie at 8 positions"):
        arrange([*stack(8), *stack(8)])


def test_one_slice_of_another_orientation_is_refused() -> None:
    planes = stack(8)
    planes[3] = replace(planes[3], orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    with pytest.raises(Refused, match="mixed_orientation"):
        arrange(planes)


def test_directions_that_differ_in_their_last_digits_are_one_orientation() -> None:
    planes = stack(8)
    planes[3] = replace(planes[3], orientation=(1.0, 0.0004, 0.0, -0.0004, 1.0, 0.0))
    assert arrange(planes).plane == "axial"


def test_slices_of_two_sizes_are_refused() -> None:
    planes = stack(8)
    planes[3] = replace(planes[3], rows=48)
    with pytest.raises(Refused, match="mixed_matrix: slices of 2 sizes: 24x32, 48x32"):
        arrange(planes)


def test_slices_of_two_pixel_spacings_are_refused() -> None:
    planes = stack(8)
    planes[3] = replace(planes[3], pixel_spacing=(0.9, 0.7))
    with pytest.raises(Refused, match="mixed_spacing"):
        arrange(planes)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_too_few_slices_are_refused_with_both_figures(count: int) -> None:
    fewest = 10 if count == 9 else 3
    with pytest.raises(Refused, match=f"too_few_slices: {count} slices, at least {fewest}"):
        arrange(stack(count), fewest_slices=fewest)


@pytest.mark.parametrize(
    "change",
    [
        {"position": (0.0, float("nan"), 0.0)},
        {"orientation": (1.0, 0.0, 0.0, float("inf"), 0.0, 0.0)},
        {"pixel_spacing": (0.0, 0.8)},
        {"pixel_spacing": (float("nan"), 0.8)},
    ],
)
def test_values_that_are_no_place_in_space_are_refused(
    change: dict[str, tuple[float, ...]],
) -> None:
    planes = stack(8)
    planes[5] = replace(planes[5], **change)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="no_geometry"):
        arrange(planes)


@pytest.mark.parametrize(
    "orientation", [(1.0, 0.0, 0.0, 0.7, 0.7, 0.0), (0.0,) * 6, (2.0, 0.0, 0.0, 0.0, 2.0, 0.0)]
)
def test_directions_that_are_not_perpendicular_unit_vectors_are_refused(
    orientation: tuple[float, ...],
) -> None:
    a, b, c, d, e, f = orientation
    planes = [replace(plane, orientation=(a, b, c, d, e, f)) for plane in stack(8)]
    with pytest.raises(Refused, match="perpendicular unit vectors"):
        arrange(planes)


def test_turning_the_patient_over_turns_the_order_of_the_slices() -> None:
    geometry = arrange(stack(4, orientation=FEET_FIRST_LOOK))
    assert geometry.affine_lps[2, 0] == pytest.approx(-2.5)


def test_the_volume_of_a_voxel_is_the_product_of_its_spacings() -> None:
    assert arrange(stack(4)).voxel_volume_ml == pytest.approx(2.5 * 0.9 * 0.8 / 1000)


def test_refusals_carry_their_code() -> None:
    with pytest.raises(Refused) as caught:
        arrange(stack(2))
    assert caught.value.code is RefusalCode.TOO_FEW_SLICES
    assert str(caught.value) == f"too_few_slices: {caught.value.text}"
