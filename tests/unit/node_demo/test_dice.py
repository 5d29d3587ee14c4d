from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid

from node.demo.dice import dice, masks_on
from node.demo.errors import InvalidSeg
from node.demo.grid import as_slices
from node.demo.nifti import NiftiVolume, read_nifti
from node.demo.wrap import WrappedStudy, wrap

DATA = Path(__file__).parents[3] / "node" / "demo" / "data" / "hippocampus"
STUDY = WrappedStudy("dice", "DEMO^DICE", "DEMO-3", "A-3", "Hippocampus MR")
LABELS = (1, 2)


def placed(shape: tuple[int, ...], seed: int) -> NiftiVolume:
    """A label volume somewhere in the world, turned and mirrored as the seed says."""
    random = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(random.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = directions * random.uniform(0.5, 3.0, 3)
    affine[:3, 3] = random.uniform(-200.0, 200.0, 3)
    voxels = random.integers(0, 3, shape).astype(np.uint8)
    voxels.flat[:2] = LABELS
    return NiftiVolume(voxels, affine)


def segmentation(labels: NiftiVolume) -> Dataset:
    """A SEG as an independent library writes it, on the grid of the wrapped images."""
    grid = as_slices(labels)
    images = wrap(grid, STUDY)
    for image in images:
        image.SpecificCharacterSet = "ISO_IR 192"
    algorithm = highdicom.AlgorithmIdentificationSequence(
        "by hand", codes.DCM.ArtificialIntelligence, "1"
    )
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=value,
            segment_label=f"label {value}",
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Hippocampus,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=UID(f"1.2.3.{value}"),
            tracking_id=f"label {value}",
        )
        for value in LABELS
    ]
    seg: Dataset = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=np.stack([grid.voxels == value for value in LABELS], axis=-1),
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )
    return seg


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_a_seg_of_the_truth_itself_is_found_voxel_for_voxel_wherever_it_lies(seed: int) -> None:
    truth = placed((3, 4, 5), seed)

    masks = masks_on(truth, segmentation(truth))

    for value in LABELS:
        np.testing.assert_array_equal(masks[f"1.2.3.{value}"], truth.voxels == value)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_truth_is_not_taken_for_the_truth(axis: int) -> None:
    path = sorted((DATA / "labels").glob("*.nii.gz"))[0]
    truth = read_nifti(path)
    mirrored = NiftiVolume(np.flip(truth.voxels, axis).copy(), truth.affine_ras)

    masks = masks_on(truth, segmentation(mirrored))

    assert dice(masks["1.2.3.1"], truth.voxels == 1) < 0.7


def test_a_shift_by_half_a_voxel_is_an_error() -> None:
    truth = placed((3, 4, 5), 1)
    shifted = truth.affine_ras.copy()
    shifted[:3, 3] += shifted[:3, 0] / 2

    with pytest.raises(InvalidSeg, match="between"):
        masks_on(NiftiVolume(truth.voxels, shifted), segmentation(truth))


def test_a_shift_out_of_the_volume_is_an_error() -> None:
    truth = placed((3, 4, 5), 1)
    shifted = truth.affine_ras.copy()
    shifted[:3, 3] += shifted[:3, 0]

    with pytest.raises(InvalidSeg, match="outside"):
        masks_on(NiftiVolume(truth.voxels, shifted), segmentation(truth))


def test_a_seg_without_positions_is_an_error() -> None:
    truth = placed((3, 4, 5), 1)
    seg = segmentation(truth)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence

    with pytest.raises(InvalidSeg, match="PlanePositionSequence"):
        masks_on(truth, seg)


@given(bits=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_dice_is_symmetric_within_zero_and_one_and_one_only_for_equals(bits: Any) -> None:
    one, other = (np.array(column) for column in zip(*bits, strict=True))

    value = dice(one, other)

    assert value == dice(other, one)
    assert 0.0 <= value <= 1.0
    assert (value == 1.0) == np.array_equal(one, other)


def test_dice_counts_the_overlap_twice() -> None:
    one = np.array([True, True, False, False])
    other = np.array([False, True, True, True])

    assert dice(one, other) == 2 * 1 / (2 + 3)
