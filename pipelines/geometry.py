"""Orders the slices of one series in space and refuses what is not a regular volume.

Pure numpy on positions and directions. Coordinates are LPS millimetres (PS3.3 C.7.6.2.1.1);
arrays are [slice, row, column]. Slices are ordered along the slice normal (row direction x
column direction), so neither the order of arrival nor instance numbers nor Patient Position
(head first, feet first) matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import RefusalCode, Refused
from pipelines.orientation import plane_of, slice_normal

Array = NDArray[np.float64]

FEWEST_SLICES = 3
COSINE_TOLERANCE = 1e-3
IN_PLANE_TOLERANCE_MM = 1e-3
DUPLICATE_WITHIN_MM = 0.01
SPACING_TOLERANCE_MM = 0.05
SPACING_TOLERANCE = 0.01
TILT_LIMIT_DEGREES = 0.5
STEEPEST_TILT_DEGREES = 45.0
LARGEST_DRIFT = 0.1  # of the slice spacing, between a slice's own position and the regular grid


@dataclass(frozen=True, slots=True)
class SlicePlane:
    """Where one slice lies: centre of its first voxel, direction cosines, spacing, matrix.

    `orientation` holds the row's then the column's direction cosines, as Image Orientation
    (Patient) does; `pixel_spacing` is (between rows, between columns) in mm.
    """

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class VolumeGeometry:
    """The regular grid on which a series lies.

    `order[k]` is the index, in what was given, of slice k. `affine_lps` (4x4) takes
    (slice, row, column, 1) to LPS mm. `spacing_mm` is between (slices, rows, columns), for
    slices along their normal. `plane` is axial, coronal, sagittal or oblique. `tilt_degrees` is
    the angle between the normal and the direction in which the slices are stacked.
    """

    order: tuple[int, ...]
    affine_lps: Array
    spacing_mm: tuple[float, float, float]
    plane: str
    tilt_degrees: float = 0.0

    @property
    def is_tilted(self) -> bool:
        """Whether the stack leans, so that its affine is sheared (a tilted gantry)."""
        return self.tilt_degrees > TILT_LIMIT_DEGREES

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0


def arrange(
    planes: Sequence[SlicePlane],
    *,
    fewest_slices: int = FEWEST_SLICES,
    allow_tilt: bool = False,
) -> VolumeGeometry:
    """Order the slices and find their grid; a tilted one has a sheared affine.

    Raises `Refused`: too_few_slices, mixed_matrix, mixed_spacing, mixed_orientation,
    no_geometry, duplicate_positions, gantry_tilt, missing_slices, uneven_spacing.
    """
    _refuse_too_few(len(planes), max(2, fewest_slices))
    _refuse_mixed_matrix(planes)
    pixel_spacing = _common_pixel_spacing(planes)
    orientation = _common_orientation(planes)
    normal = slice_normal(orientation)
    positions = _positions(planes)
    order = np.argsort(positions @ normal, kind="stable")
    increment = _increment(positions[order], normal)
    tilt_degrees = _tilt_degrees(normal, increment)
    _refuse_tilt(tilt_degrees, STEEPEST_TILT_DEGREES if allow_tilt else TILT_LIMIT_DEGREES)
    affine = np.eye(4)
    affine[:3, 0] = increment
    affine[:3, 1] = orientation[3:] * pixel_spacing[0]
    affine[:3, 2] = orientation[:3] * pixel_spacing[1]
    affine[:3, 3] = positions[order[0]]
    return VolumeGeometry(
        order=tuple(int(index) for index in order),
        affine_lps=affine,
        spacing_mm=(float(normal @ increment), *pixel_spacing),
        plane=plane_of(orientation),
        tilt_degrees=tilt_degrees,
    )


def _increment(positions: Array, normal: Array) -> Array:
    """The step in mm from slice to slice of an ordered stack, once it is known to be regular."""
    steps = np.diff(positions @ normal)
    _refuse_duplicates(steps)
    increment: Array = (positions[-1] - positions[0]) / len(steps)
    _refuse_gaps(steps)
    _refuse_drift(positions, increment)
    return increment


def _refuse_too_few(count: int, fewest: int) -> None:
    if count < fewest:
        text = f"{count} slices, at least {fewest} are needed"
        raise Refused(RefusalCode.TOO_FEW_SLICES, text)


def _refuse_mixed_matrix(planes: Sequence[SlicePlane]) -> None:
    sizes = sorted({(plane.rows, plane.columns) for plane in planes})
    if len(sizes) > 1:
        told = ", ".join(f"{rows}x{columns}" for rows, columns in sizes)
        raise Refused(RefusalCode.MIXED_MATRIX, f"slices of {len(sizes)} sizes: {told}")


def _common_pixel_spacing(planes: Sequence[SlicePlane]) -> tuple[float, float]:
    spacings = np.asarray([plane.pixel_spacing for plane in planes], dtype=np.float64)
    if not np.all(np.isfinite(spacings)) or spacings.min() <= 0:
        raise Refused(RefusalCode.NO_GEOMETRY, "a slice has a pixel spacing that is not positive")
    if np.ptp(spacings, axis=0).max() > IN_PLANE_TOLERANCE_MM:
        low, high = spacings.min(), spacings.max()
        raise Refused(RefusalCode.MIXED_SPACING, f"pixel spacing from {low:g} to {high:g} mm")
    median = np.median(spacings, axis=0)
    return float(median[0]), float(median[1])


def _common_orientation(planes: Sequence[SlicePlane]) -> Array:
    cosines = np.asarray([plane.orientation for plane in planes], dtype=np.float64)
    if not np.all(np.isfinite(cosines)):
        raise Refused(RefusalCode.NO_GEOMETRY, "a slice has a direction that is not a number")
    spread = float(np.ptp(cosines, axis=0).max())
    if spread > COSINE_TOLERANCE:
        text = f"direction cosines differ by up to {spread:.3g}, allowed {COSINE_TOLERANCE:g}"
        raise Refused(RefusalCode.MIXED_ORIENTATION, text)
    return _orthonormal(np.median(cosines, axis=0))


def _orthonormal(orientation: Array) -> Array:
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    skew = abs(float(row @ column))
    if min(lengths) < 0.99 or max(lengths) > 1.01 or skew > 0.01:
        text = "Image Orientation (Patient) is not two perpendicular unit vectors"
        raise Refused(RefusalCode.NO_GEOMETRY, text)
    return np.concatenate([row / lengths[0], column / lengths[1]])


def _positions(planes: Sequence[SlicePlane]) -> Array:
    positions = np.asarray([plane.position for plane in planes], dtype=np.float64)
    if not np.all(np.isfinite(positions)):
        raise Refused(RefusalCode.NO_GEOMETRY, "a slice has a position that is not a number")
    return positions


def _refuse_duplicates(steps: Array) -> None:
    repeated = int(np.count_nonzero(steps < DUPLICATE_WITHIN_MM))
    if repeated:
        total = len(steps) + 1
        text = (
            f"{total} slices lie at {total - repeated} positions: "
            "several phases, echoes or repetitions in one series"
        )
        raise Refused(RefusalCode.DUPLICATE_POSITIONS, text)


def _tilt_degrees(normal: Array, increment: Array) -> float:
    cosine = float(normal @ increment / np.linalg.norm(increment))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _refuse_tilt(degrees: float, allowed: float) -> None:
    if degrees > allowed:
        text = f"slices are stacked {degrees:.1f} degrees off their normal, allowed {allowed:g}"
        raise Refused(RefusalCode.GANTRY_TILT, text)


def _refuse_gaps(steps: Array) -> None:
    median = float(np.median(steps))
    allowed = max(SPACING_TOLERANCE * median, SPACING_TOLERANCE_MM)
    multiples = np.rint(steps / median)
    gaps = (multiples >= 2) & (np.abs(steps - multiples * median) <= allowed * multiples)
    even = np.abs(steps - median) <= allowed
    if np.all(even):
        return
    if np.all(even | gaps):
        missing = int((multiples[gaps] - 1).sum())
        text = f"{missing} missing in {int(gaps.sum())} gaps; median spacing {median:.3g} mm"
        raise Refused(RefusalCode.MISSING_SLICES, text)
    raise Refused(
        RefusalCode.UNEVEN_SPACING,
        f"spacing from {steps.min():.4g} to {steps.max():.4g} mm, median {median:.4g}, "
        f"allowed deviation {allowed:.3g}",
    )


def _refuse_drift(positions: Array, increment: Array) -> None:
    grid = positions[0] + np.arange(len(positions))[:, None] * increment
    drift = float(np.linalg.norm(positions - grid, axis=1).max())
    allowed = max(LARGEST_DRIFT * float(np.linalg.norm(increment)), SPACING_TOLERANCE_MM)
    if drift > allowed:
        text = f"slices lie up to {drift:.3g} mm off a straight, even stack, allowed {allowed:.3g}"
        raise Refused(RefusalCode.UNEVEN_SPACING, text)
