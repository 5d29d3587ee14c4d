"""SEG and SR before independent judges: dicom3tools, dcmqi and DCMTK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from tests.integration.pipelines_objects.result_cases import (
    CASES,
    NONE,
    WITH_SEG,
    Labels,
    Result,
    ascii_only,
    made_result,
)
from tests.peers.dicom_checkers import (
    dcentvfy,
    dciodvfy,
    dsrdump,
    segimage2itkimage,
    tid1500reader,
)
from tests.unit.pipelines_objects.result_requests import (
    ORIGIN,
    STRUCTURES,
    UIDS,
    label_map,
    measurements,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import (
    SERIES,
    classic_series,
    write_series,
)


@pytest.fixture
def result(request: pytest.FixtureRequest, tmp_path: Path) -> Result:
    return made_result(*CASES[request.param], tmp_path)


def values_present(labels: Labels) -> list[int]:
    return [value for value in (1, 2) if (labels == value).any()]


def positions_in_source(result: Result, value: int) -> NDArray[np.float64]:
    """LPS positions of the voxels with a label, from the headers of the images alone."""
    places = []
    for plane, labels in zip(result.source.planes(), result.labels, strict=True):
        rows, columns = np.nonzero(labels == value)
        along = columns[:, None] * plane.row_direction * plane.spacing_mm[1]
        down = rows[:, None] * plane.column_direction * plane.spacing_mm[0]
        places.append(plane.position + along + down)
    return np.concatenate(places)


def in_order(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort points so that two sets of them can be compared one by one."""
    rounded = np.round(positions, 2)
    return positions[np.lexsort(rounded.T)]


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("result", WITH_SEG, indirect=True)
def test_dciodvfy_has_nothing_to_say_about_the_seg(result: Result) -> None:
    assert dciodvfy(result.seg) == ()


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("result", list(CASES), indirect=True)
def test_dciodvfy_has_nothing_to_say_about_the_report(result: Result) -> None:
    assert dciodvfy(result.report) == ()


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_does_find_faults(tmp_path: Path) -> None:
    segmentation = build_segmentation(segmentation_request(classic_series(), label_map()))
    del segmentation.ReferencedSeriesSequence
    segmentation.PatientSex = "U"
    write_object(segmentation, tmp_path / "seg.dcm")
    messages = " ".join(dciodvfy(tmp_path / "seg.dcm"))
    assert "PatientSex" in messages
    assert "ReferencedSeriesSequence" in messages


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("labels", [label_map(), NONE], ids=["findings", "none"])
def test_results_agree_with_their_images_on_patient_and_study(
    tmp_path: Path, labels: Labels
) -> None:
    source = classic_series(edit=ascii_only)
    paths = write_series(source, tmp_path / "images")
    segmentation = None
    if labels.any():
        segmentation = build_segmentation(segmentation_request(source, labels))
        write_object(segmentation, tmp_path / "seg.dcm")
        paths.append(tmp_path / "seg.dcm")
    write_object(build_report(report_request(source, labels, segmentation)), tmp_path / "sr.dcm")
    assert dcentvfy([*paths, tmp_path / "sr.dcm"]) == ()


@pytest.mark.peer("dcmqi")
@pytest.mark.parametrize("result", [name for name in WITH_SEG if name != "tilted"], indirect=True)
def test_dcmqi_sees_the_same_voxels_at_the_same_places(result: Result) -> None:
    segments = segimage2itkimage(result.seg, result.folder / "dcmqi")
    assert list(segments) == list(range(1, len(values_present(result.labels)) + 1))
    for (image, _), value in zip(segments.values(), values_present(result.labels), strict=True):
        seen, expected = image.positions(), positions_in_source(result, value)
        assert seen.shape == expected.shape
        assert np.allclose(in_order(seen), in_order(expected), atol=0.01)


@pytest.mark.peer("dcmqi")
@pytest.mark.parametrize("result", ["tilted"], indirect=True)
def test_dcmqi_counts_the_voxels_of_a_tilted_series(result: Result) -> None:
    """It straightens the stack, so places cannot be compared; the numbers of voxels can."""
    segments = segimage2itkimage(result.seg, result.folder / "dcmqi")
    for number, (image, _) in segments.items():
        assert np.count_nonzero(image.values) == np.count_nonzero(result.labels == number)


@pytest.mark.peer("dcmqi")
@pytest.mark.parametrize("result", ["two segments"], indirect=True)
def test_dcmqi_reads_the_description_of_each_segment(result: Result) -> None:
    segments = segimage2itkimage(result.seg, result.folder / "dcmqi")
    for (_, segment), structure in zip(segments.values(), STRUCTURES, strict=True):
        assert segment["SegmentLabel"] == structure.label
        assert segment["SegmentAlgorithmType"] == "AUTOMATIC"
        assert segment["TrackingUniqueIdentifier"] == structure.tracking_uid
        modifier = segment["SegmentedPropertyTypeModifierCodeSequence"]
        assert structure.type_modifier is not None
        assert modifier["CodeValue"] == structure.type_modifier.value
        colours = np.subtract(segment["recommendedDisplayRGBValue"], structure.color_rgb)
        assert np.abs(colours).max() <= 3


@pytest.mark.peer("dcmqi")
@pytest.mark.parametrize("result", list(CASES), indirect=True)
def test_dcmqi_reads_every_measurement_of_the_report(result: Result) -> None:
    content = tid1500reader(result.report, result.folder / "dcmqi")
    assert content["VerificationFlag"] == "UNVERIFIED"
    assert content["observerContext"]["DeviceObserverUID"] == ORIGIN.algorithm.device_uid
    present = [item for item in measurements(result.labels) if item.is_present]
    for group, expected in zip(content["Measurements"], present, strict=True):
        assert group["TrackingUniqueIdentifier"] == expected.tracking_uid
        assert group["ReferencedSegment"] == expected.segment_number
        assert group["segmentationSOPInstanceUID"] == UIDS.seg_instance
        assert group["SourceSeriesForImageSegmentation"] == SERIES
        assert group["Finding"]["CodeValue"] == expected.property_type.value
        (item,) = group["measurementItems"]
        assert float(item["value"]) == expected.value
        assert item["units"]["CodeValue"] == "mL"
        assert item["measurementAlgorithmIdentification"]["AlgorithmVersion"] == "1.2.0"


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("result", list(CASES), indirect=True)
def test_dcmtk_reads_the_report_without_a_word(result: Result) -> None:
    tree, messages = dsrdump(result.report)
    assert messages == ()
    assert "PRELIMINARY" in tree
    assert "not reviewed by a physician" in tree
    has_findings = result.labels.any()
    assert ("All algorithms succeeded; with findings" in tree) == has_findings
    absent = len(STRUCTURES) - len(values_present(result.labels))
    assert tree.count("272519000") == absent
