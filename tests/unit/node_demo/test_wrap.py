from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from node.demo.errors import InvalidNifti
from node.demo.grid import SliceGrid, as_slices
from node.demo.nifti import NiftiVolume, read_nifti
from node.demo.wrap import WrappedStudy, rescale_slope, wrap

DATA = Path(__file__).parents[3] / "node" / "demo" / "data" / "hippocampus"
STUDY = WrappedStudy("case", "DEMO^CASE", "DEMO-1", "A-1", "Hippocampus MR")
SHAPE = (3, 4, 5)


def affines() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Any rigid placement with any spacing, either handedness, any order of the axes."""

    def build(seed: int, spacing: tuple[float, float, float], offset: Any) -> Any:
        directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = directions * np.array(spacing)
        affine[:3, 3] = offset
        return affine

    length, place = st.floats(0.3, 9.0), st.floats(-400.0, 400.0)
    return st.builds(
        build,
        st.integers(0, 10_000),
        st.tuples(length, length, length),
        st.tuples(place, place, place),
    )


def positions(image: Dataset) -> np.ndarray[Any, Any]:
    """LPS mm of every pixel [row, column, 3], by the equation of PS3.3 C.7.6.2.1.1."""
    across, down = np.reshape(np.array(image.ImageOrientationPatient, dtype=float), (2, 3))
    row_mm, column_mm = (float(value) for value in image.PixelSpacing)
    rows, columns = np.mgrid[: image.Rows, : image.Columns]
    origin = np.array(image.ImagePositionPatient, dtype=float)
    places: np.ndarray[Any, Any] = (
        origin + columns[..., None] * column_mm * across + rows[..., None] * row_mm * down
    )
    return places


@given(affine=affines())
def test_every_voxel_keeps_its_place_in_the_world(affine: np.ndarray[Any, Any]) -> None:
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    images = wrap(as_slices(NiftiVolume(voxels, affine)), STUDY)

    found = {
        int(value): place
        for image in images
        for value, place in zip(
            image.pixel_array.ravel(), positions(image).reshape(-1, 3), strict=True
        )
    }

    assert len(found) == voxels.size
    for index in np.ndindex(SHAPE):
        ras = affine @ [*index, 1.0]
        np.testing.assert_allclose(found[int(voxels[index])], ras[:3] * [-1, -1, 1], atol=1e-6)


@given(affine=affines())
def test_slices_are_stacked_along_their_own_normal_at_the_stated_spacing(
    affine: np.ndarray[Any, Any],
) -> None:
    images = wrap(as_slices(NiftiVolume(np.zeros(SHAPE), affine)), STUDY)

    across, down = np.reshape(np.array(images[0].ImageOrientationPatient, dtype=float), (2, 3))
    places = np.array([image.ImagePositionPatient for image in images], dtype=float)
    steps = np.diff(places @ np.cross(across, down))

    np.testing.assert_allclose(np.abs(steps), float(images[0].SpacingBetweenSlices), atol=1e-6)
    assert len(set(np.sign(steps))) <= 1


def test_an_upright_volume_becomes_axial_images_as_a_viewer_expects_them() -> None:
    images = wrap(as_slices(NiftiVolume(np.zeros(SHAPE), np.eye(4))), STUDY)

    assert images[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert [image.ImagePositionPatient[2] for image in images] == [0, 1, 2, 3, 4]
    assert images[0].ImagePositionPatient[:2] == [-2, -3]


def test_axes_that_are_not_at_right_angles_are_refused() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.1

    with pytest.raises(InvalidNifti, match="right angles"):
        as_slices(NiftiVolume(np.zeros(SHAPE), sheared))


@given(
    values=st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=8, max_size=8).map(
        np.array
    )
)
def test_voxels_are_off_by_half_a_slope_at_most(values: np.ndarray[Any, Any]) -> None:
    grid = SliceGrid(values.reshape(2, 2, 2), np.eye(4))
    slope = float(rescale_slope(values))

    restored = np.array([image.pixel_array * slope for image in wrap(grid, STUDY)])

    np.testing.assert_allclose(restored.ravel(), values, atol=slope * 0.5000001)


@given(values=st.lists(st.integers(-32767, 32767), min_size=8, max_size=8).map(np.array))
def test_whole_numbers_that_fit_are_stored_as_they_are(values: np.ndarray[Any, Any]) -> None:
    images = wrap(SliceGrid(values.reshape(2, 2, 2), np.eye(4)), STUDY)

    stored = np.array([image.pixel_array for image in images])

    np.testing.assert_array_equal(stored.ravel(), values)
    assert "RescaleSlope" not in images[0]


def test_the_same_case_gets_the_same_uids_and_another_case_others() -> None:
    grid = SliceGrid(np.zeros(SHAPE), np.eye(4))
    other = WrappedStudy("other", "DEMO^OTHER", "DEMO-2", "A-2", "Hippocampus MR")

    once, again = wrap(grid, STUDY), wrap(grid, STUDY)
    theirs = wrap(grid, other)

    assert [image.SOPInstanceUID for image in once] == [image.SOPInstanceUID for image in again]
    assert len({image.SOPInstanceUID for image in [*once, *theirs]}) == 2 * SHAPE[0]
    assert once[0].StudyInstanceUID != theirs[0].StudyInstanceUID
    assert all(image.SOPInstanceUID.is_valid for image in once)


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("path", sorted((DATA / "images").glob("*.nii.gz")), ids=lambda p: p.name)
def test_dciodvfy_finds_no_error_in_a_wrapped_image(path: Path, tmp_path: Path) -> None:
    image = wrap(as_slices(read_nifti(path)), STUDY)[3]
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)

    told = subprocess.run(
        [shutil.which("dciodvfy") or "", tmp_path / "image.dcm"],
        capture_output=True,
        text=True,
        check=False,
    ).stderr

    assert told.startswith("MRImage")
    assert [line for line in told.splitlines() if line.startswith("Error")] == []
    assert dcmread(tmp_path / "image.dcm").pixel_array.shape == (image.Rows, image.Columns)
