from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from pipelines.objects.segmentation import (
    build_segmentation,
    segment_numbers,
    segmentation_type,
)
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import encoded_object
from tests.unit.pipelines_objects.result_requests import (
    ORIGIN,
    STRUCTURES,
    UIDS,
    label_map,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import (
    AXIAL,
    SERIES,
    classic_series,
    enhanced_series,
    regular_positions,
    tilted_positions,
)


def built(source: SourceSeries | None = None) -> Dataset:
    return build_segmentation(segmentation_request(source or classic_series(), label_map()))


def test_it_is_a_binary_seg_on_the_source_grid() -> None:
    seg = built()
    assert seg.SOPClassUID == SegmentationStorage
    assert (seg.SegmentationType, seg.BitsAllocated) == ("BINARY", 1)
    assert (seg.Rows, seg.Columns) == (24, 32)
    assert seg.FrameOfReferenceUID == classic_series().first.FrameOfReferenceUID
    assert (seg.InstanceNumber, seg.SeriesNumber) == (1, 9001)


def test_it_says_that_an_algorithm_made_it() -> None:
    seg = built()
    for item in seg.SegmentSequence:
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        assert item.SegmentAlgorithmName == "hippocampus-net"
        (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
        (family,) = algorithm.AlgorithmFamilyCodeSequence
        assert (family.CodeValue, family.CodingSchemeDesignator) == ("123110", "DCM")
        assert (algorithm.AlgorithmVersion, algorithm.AlgorithmSource) == ("1.2.0", "radnode")
    assert seg.ContentQualification == "RESEARCH"
    assert seg.SeriesDescription.startswith("AI ")
    assert seg.ContentCreatorName == "radnode^"
    assert seg.ImageType == ["DERIVED", "PRIMARY"]


def test_it_names_the_node_and_the_model_as_equipment() -> None:
    seg = built()
    assert (seg.Manufacturer, seg.DeviceSerialNumber) == ("radnode", "node-1")
    assert seg.ManufacturerModelName == "hippocampus-net"
    assert seg.SoftwareVersions == ["radnode 0.1.0", "hippocampus-net 1.2.0"]
    assert seg.InstitutionName == "Klinik am Süßen See"
    (model,) = seg.ContributingEquipmentSequence
    assert model.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert model.DeviceUID == ORIGIN.algorithm.device_uid
    assert seg.file_meta.ImplementationVersionName == "RADNODE"


def test_times_are_those_of_the_analysis_in_the_offset_of_the_study() -> None:
    seg = built()
    assert seg.TimezoneOffsetFromUTC == "+0100"
    for kind in ("Content", "Series", "InstanceCreation"):
        assert seg[f"{kind}Date"].value == "20240701"
        assert seg[f"{kind}Time"].value == "140405.678000"


def test_segments_are_described_with_codes_colour_and_tracking() -> None:
    first, second = built().SegmentSequence
    assert (first.SegmentNumber, second.SegmentNumber) == (1, 2)
    assert first.SegmentLabel == "Anterior hippocampus"
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    (kind,) = first.SegmentedPropertyTypeCodeSequence
    assert kind.CodeValue == "5366008"
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "255549009"
    assert first.AnatomicRegionSequence[0].CodeValue == "12738006"
    assert (first.TrackingID, first.TrackingUID) == (
        STRUCTURES[0].tracking_identifier,
        STRUCTURES[0].tracking_uid,
    )
    assert first.RecommendedDisplayCIELabValue != second.RecommendedDisplayCIELabValue


def test_every_source_image_is_referenced_once() -> None:
    source = classic_series()
    (series,) = built(source).ReferencedSeriesSequence
    assert series.SeriesInstanceUID == SERIES
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == [
        header.SOPInstanceUID for header in source.headers
    ]


def test_each_frame_names_the_image_that_it_was_derived_from() -> None:
    source = classic_series()
    positions = {
        header.SOPInstanceUID: list(header.ImagePositionPatient) for header in source.headers
    }
    for frame in built(source).PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, positions[image.ReferencedSOPInstanceUID], atol=1e-6)


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_of_an_enhanced_image_are_referenced_by_their_own_numbers(per_frame: bool) -> None:
    source = enhanced_series(per_frame=per_frame)
    numbers = {tuple(np.round(plane.position, 3)): plane.frame_number for plane in source.planes()}
    seg = built(source)
    assert seg.NumberOfFrames > len(numbers)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert image.ReferencedFrameNumber == numbers[tuple(np.round(position, 3))]


def test_frames_of_an_enhanced_image_that_were_not_analysed_do_no_harm() -> None:
    source = enhanced_series()
    twice = source.first.PerFrameFunctionalGroupsSequence
    twice.append(twice[0])
    source.first.NumberOfFrames = 7
    assert built(source).NumberOfFrames == built(enhanced_series()).NumberOfFrames


@pytest.mark.parametrize(
    "source",
    [
        classic_series(orientation=AXIAL, positions=tilted_positions(6)),
        classic_series(positions=[regular_positions(8)[index] for index in (0, 1, 2, 4, 5, 7)]),
    ],
    ids=["tilted", "gapped"],
)
def test_pixel_measures_are_given_where_slices_are_no_regular_volume(
    source: SourceSeries,
) -> None:
    (measures,) = built(source).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert list(measures.PixelSpacing) == [0.9, 0.8]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2.0, 2.5)


def test_the_same_request_gives_the_same_bytes() -> None:
    assert encoded_object(built()) == encoded_object(built())


def test_another_content_time_gives_other_bytes() -> None:
    later = replace(ORIGIN, content_time=ORIGIN.content_time + timedelta(seconds=1))
    request = segmentation_request(classic_series(), label_map(), origin=later)
    assert encoded_object(build_segmentation(request)) != encoded_object(built())


def test_all_uids_of_the_result_are_given_or_of_the_source() -> None:
    seg = built()
    known = {UIDS.seg_instance, UIDS.seg_series, UIDS.seg_dimension_organization}
    known |= {item.tracking_uid for item in STRUCTURES} | {ORIGIN.algorithm.device_uid}
    uids = {str(element.value) for element in seg.iterall() if element.VR == "UI"}
    standard = {uid for uid in uids if uid.startswith("1.2.840.10008.")}
    source = {uid for uid in uids if uid.startswith("2.25.100")}
    assert uids - standard - source == known


def test_body_part_is_named_and_an_empty_laterality_is_not() -> None:
    seg = built()
    assert seg.BodyPartExamined == "BRAIN"
    assert "Laterality" not in seg


@pytest.mark.parametrize("shape", [(5, 23, 29), (5, 24, 29)], ids=["frames", "rows"])
def test_frames_or_rows_that_end_within_a_byte_are_given_as_bytes(
    shape: tuple[int, int, int],
) -> None:
    seg = build_segmentation(segmentation_request(classic_series(shape), label_map(shape)))
    assert (seg.SegmentationType, seg.SegmentationFractionalType) == ("FRACTIONAL", "OCCUPANCY")
    assert set(np.frombuffer(seg.PixelData, np.uint8).tolist()) == {0, 1}


@given(columns=st.integers(1, 600))
def test_rows_of_binary_frames_always_fill_whole_bytes(columns: int) -> None:
    is_binary = segmentation_type(columns) == "BINARY"
    assert is_binary == (columns % 8 == 0)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=40))
def test_label_values_become_segment_numbers_and_others_background(values: list[int]) -> None:
    labels = np.asarray([1, 2, *values], dtype=np.uint16).reshape(1, 1, -1)
    structures = [replace(STRUCTURES[0], label_value=2, segment_number=1)]
    numbered = segment_numbers(labels, structures)
    assert np.array_equal(numbered == 1, labels == 2)
    assert set(np.unique(numbered).tolist()) <= {0, 1}


def test_a_described_structure_without_voxels_is_an_error() -> None:
    labels = np.where(label_map() == 1, 1, 0).astype(np.uint8)
    structures = tuple(
        replace(item, segment_number=number) for number, item in enumerate(STRUCTURES, 1)
    )
    request = segmentation_request(classic_series(), labels, structures=structures)
    with pytest.raises(ValueError, match=r"no voxel has the label values \[2\]"):
        build_segmentation(request)


def test_a_label_map_of_another_grid_is_an_error() -> None:
    with pytest.raises(ValueError, match="not on the source grid"):
        segmentation_request(classic_series(), label_map((6, 32, 24)))


def test_a_label_map_of_floats_is_an_error() -> None:
    with pytest.raises(ValueError, match="unsigned"):
        segmentation_request(classic_series(), label_map().astype(np.float32))


def test_segment_numbers_with_a_gap_are_an_error() -> None:
    structures = tuple(replace(item, segment_number=7) for item in STRUCTURES)
    with pytest.raises(ValueError, match=r"not 1\.\.N"):
        segmentation_request(classic_series(), label_map(), structures=structures)
