"""Tumours drawn on real CT, MR and PET: from RTSTRUCT to our SEG and back, voxel for voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.objects.description import numbered
from pipelines.objects.proof import prove_segmentation
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series
from tests.integration.pipelines_images.contours import drawn_voxels
from tests.integration.pipelines_images.nifti_truth import on_axes_of
from tests.peers.real_images import FOLDER, images_of
from tests.unit.pipelines_objects.read_elsewhere import labels_on_grid
from tests.unit.pipelines_objects.result_requests import STRUCTURES, segmentation_request

PATIENTS = ("STS_002", "STS_003", "STS_012", "STS_019")
IMAGES = ("CT", "MR_T1", "PET")
SAME_PLACE_MM = 1e-3

pytestmark = pytest.mark.peer("real_images")


def series(patient: str, image: str) -> SeriesVolume:
    paths = images_of("ct_ibsi_sts_dev", patient, "dicom", image, "image")
    return read_series(paths, ReadingPolicy(allow_derived=True))


def written(folder: Path, volume: SeriesVolume, labels: NDArray[np.uint8]) -> Path:
    request = segmentation_request(
        volume.source,
        labels,
        structures=numbered(STRUCTURES, {1}),
        spacing_between_slices_mm=volume.spacing_mm[0],
    )
    path = folder / "seg.dcm"
    write_object(build_segmentation(request), path)
    prove_segmentation(
        path, labels, volume.source, request.structures, affine_lps=volume.affine_lps
    )
    return path


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("patient", PATIENTS)
def test_a_contour_comes_back_from_the_seg_as_the_mask_that_others_made_of_it(
    tmp_path: Path, patient: str, image: str
) -> None:
    case = FOLDER / "ct_ibsi_sts_dev" / patient
    volume = series(patient, image)
    contours = case / "dicom" / image / "mask" / "RS.dcm"
    labels = drawn_voxels(contours, volume.affine_lps, volume.source.shape)
    truth, truth_affine = on_axes_of(case / "nifti" / f"{image}_mask.nii.gz", volume.affine_lps)

    read_back = labels_on_grid(written(tmp_path, volume, labels), truth_affine, truth.shape)

    assert np.count_nonzero(truth) > 200
    assert np.array_equal(read_back, truth)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("patient", PATIENTS)
def test_voxels_and_grid_are_those_that_another_program_made(patient: str, image: str) -> None:
    volume = series(patient, image)
    path = FOLDER / "ct_ibsi_sts_dev" / patient / "nifti" / f"{image}_image.nii.gz"
    voxels, affine = on_axes_of(path, volume.affine_lps)
    assert np.array_equal(volume.voxels, voxels.astype(np.float32))
    assert np.allclose(volume.affine_lps, affine, atol=SAME_PLACE_MM)
