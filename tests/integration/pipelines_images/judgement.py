"""How the outcome of a real series was judged: against other programs' volumes where there are any.

A row without such truth is judged by what the images are; the sentence names it by code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import RefusalCode, Refused
from pipelines.pixel_values import frame_values
from pipelines.series_volume import SeriesVolume
from tests.integration.pipelines_images.nifti_truth import turned_as
from tests.peers.real_images import FOLDER

SAME_PLACE_MM = 1e-3

WHY = {
    RefusalCode.NOT_A_VOLUME: "nothing in it is a slice with a place in space",
    RefusalCode.SECONDARY_CAPTURE: "SOP class of screen captures",
    RefusalCode.LOCALIZER: "Image Type LOCALIZER",
    RefusalCode.DERIVED: "Image Type DERIVED",
    RefusalCode.NOT_GREYSCALE: "colour",
    RefusalCode.TOO_FEW_SLICES: "fewer than three places",
    RefusalCode.MISSING_SLICES: "Image Position leaps within the series",
    RefusalCode.MIXED_ORIENTATION: "each image has a direction of its own (three-plane scouts)",
    RefusalCode.DUPLICATE_POSITIONS: "copies of one slice in several encodings",
    RefusalCode.UNIDENTIFIED: "an anonymiser emptied the UIDs",
    RefusalCode.NO_GEOMETRY: "the attribute is absent in the file",
    RefusalCode.GANTRY_TILT: "the angle follows from Image Position and Orientation",
    RefusalCode.UNREADABLE_PIXELS: "pydicom, GDCM and libjpeg fail on the file too",
}


def judged(
    name: str, paths: Sequence[Path], strict: SeriesVolume | Refused, freely: SeriesVolume | Refused
) -> str:
    """The sentence for the table. A volume that differs from its truth is an AssertionError."""
    if isinstance(freely, Refused):
        return WHY[freely.code]
    if freely.is_projection:
        return _judged_projection(name, freely)
    _assert_headers_on_grid(freely)
    truth = _truth_of(name)
    if truth is None:
        return "corners of every slice, by its own header, lie on the grid within 0.01 mm"
    path, volume_number, what = truth
    _assert_equal(freely, paths, path, volume_number, what)
    return {
        "voxels": "affine and every voxel equal a NIfTI made by another program",
        "labels": "affine and shape equal the label map that was drawn on it",
        "frames": "affine equals that of a NIfTI made by another program, and its voxels the "
        "frames of b 1300 in direction 3; it has none of the b 0 read here",
    }[what]


def _judged_projection(name: str, found: SeriesVolume) -> str:
    if not name.startswith("cxr_hannover"):
        return "a single grey X-ray, read at the size that its header states"
    picture = sorted((FOLDER / "cxr_hannover" / "images").glob("*.png"))[0]
    with Image.open(picture) as opened:
        assert np.array_equal(found.voxels[0], np.asarray(opened.convert("L")))
    return "every pixel equals the published picture"


def _assert_headers_on_grid(volume: SeriesVolume) -> None:
    slices, rows, columns = volume.voxels.shape
    for index, plane in enumerate(volume.source.planes()):
        corners = [[index, 0, 0, 1], [index, 0, columns - 1, 1], [index, rows - 1, 0, 1]]
        placed = (np.asarray(corners, dtype=float) @ volume.affine_lps.T)[:, :3]
        off_mm = np.abs(placed - plane.corners(rows, columns)).max()
        assert off_mm < 0.01, f"slice {index} of {slices} lies {off_mm} mm off the grid"


def _truth_of(name: str) -> tuple[Path, int, str] | None:
    folder = FOLDER / Path(name).parts[0]
    if name.startswith("ct_totalseg"):
        return folder / "example_seg_dicom.nii.gz", 0, "labels"
    if name.startswith("ct_ibsi_sts_dev"):
        _, patient, _, image, _ = Path(name).parts
        return folder / patient / "nifti" / f"{image}_image.nii.gz", 0, "voxels"
    if name.startswith("hard_dicom2nifti/philips_enhanced"):
        path = FOLDER / f"{name}_ground_truth.nii.gz"
        return path, 0, "frames" if "dti" in name else "voxels"
    return None


def _assert_equal(
    volume: SeriesVolume, paths: Sequence[Path], path: Path, number: int, what: str
) -> None:
    image = nibabel.load(path)
    stored: NDArray[Any] = np.asarray(image.dataobj)
    stored = stored[..., number] if stored.ndim == 4 else stored
    voxels, affine = turned_as(stored, np.asarray(image.affine), volume.affine_lps)
    assert voxels.shape == volume.voxels.shape, path
    assert np.allclose(volume.affine_lps, affine, atol=SAME_PLACE_MM), path
    if what == "voxels":
        assert np.array_equal(volume.voxels, voxels.astype(np.float32)), path
    if what == "frames":
        others = frame_values(paths[0], _third_directions(volume))
        assert np.array_equal(others, voxels.astype(np.float32)), path


def _third_directions(volume: SeriesVolume) -> tuple[int, ...]:
    """Frames of direction 3 (from 1) at the places of the volume's slices, which are of b 0."""
    groups = volume.headers[0].PerFrameFunctionalGroupsSequence
    third = {
        tuple(group.PlanePositionSequence[0].ImagePositionPatient): number
        for number, group in enumerate(groups, start=1)
        if tuple(group.FrameContentSequence[0].DimensionIndexValues[2:]) == (2, 3)
    }
    at = (groups[number - 1].PlanePositionSequence[0] for number in volume.frame_numbers)
    return tuple(third[tuple(place.ImagePositionPatient)] for place in at)
