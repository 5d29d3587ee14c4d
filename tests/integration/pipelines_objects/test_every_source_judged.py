"""Many structures, and headers in every character set, before dicom3tools, DCMTK and dcmqi."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from pipelines.objects.description import SegmentDescription, numbered
from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from storage.dicom_records import CodedConcept
from storage.records import MeasurementRecord
from tests.integration.pipelines_objects.charset_samples import SAMPLES, in_charset_of, sample
from tests.integration.pipelines_objects.result_cases import made_result
from tests.peers.dicom_checkers import dciodvfy, dsrdump, segimage2itkimage, tid1500reader
from tests.unit.pipelines_objects.page_requests import made_pages
from tests.unit.pipelines_objects.result_requests import (
    STRUCTURES,
    UIDS,
    VOXEL_ML,
    label_map,
    measurements,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import SERIES, classic_series

MANY = 60
LESION = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM = CodedConcept("108369006", "SCT", "Neoplasm")


def assert_tells(group: dict[str, Any], expected: MeasurementRecord) -> None:
    """Compare one group, as dcmqi reads it, with what the job kept."""
    assert group["TrackingIdentifier"] == expected.tracking_identifier
    assert group["TrackingUniqueIdentifier"] == expected.tracking_uid
    assert group["ReferencedSegment"] == expected.segment_number
    assert group["segmentationSOPInstanceUID"] == UIDS.seg_instance
    assert group["SourceSeriesForImageSegmentation"] == SERIES
    assert _code(group["Finding"]) == _told(expected.property_type)
    is_lesion = expected.category == LESION
    assert _code(group["FindingSite"]) == _told(
        expected.anatomic_region if is_lesion else expected.property_type
    )
    (item,) = group["measurementItems"]
    assert float(item["value"]) == pytest.approx(expected.value, rel=1e-8)
    assert _code(item["quantity"]) == _told(expected.quantity)
    assert _code(item["units"]) == _told(expected.unit)


def _code(read: dict[str, str]) -> tuple[str, str]:
    return read["CodeValue"], read["CodingSchemeDesignator"]


def _told(concept: CodedConcept | None) -> tuple[str, str]:
    assert concept is not None
    return concept.value, concept.scheme


@pytest.fixture(scope="module")
def crowd() -> tuple[NDArray[np.uint8], tuple[SegmentDescription, ...]]:
    """Sixty structures of which every third is a lesion; one of them is not found."""
    labels = np.zeros((6, 24, 32), dtype=np.uint8)
    for value in range(1, MANY):
        row, column = divmod(value, 10)
        labels[1 + value % 4, 3 * row : 3 * row + 2, 3 * column : 3 * column + 2] = value
    described = [_structure(value) for value in range(1, MANY + 1)]
    return labels, numbered(described, set(np.unique(labels).tolist()))


def _structure(value: int) -> SegmentDescription:
    made = replace(
        STRUCTURES[0],
        label_value=value,
        label=f"Structure {value}",
        tracking_identifier=f"structure-{value}",
        tracking_uid=f"2.25.77{value:03d}",
        type_modifier=None,
    )
    return made if value % 3 else replace(made, category=LESION, property_type=NEOPLASM)


def measured(
    labels: NDArray[np.uint8], structures: tuple[SegmentDescription, ...]
) -> tuple[MeasurementRecord, ...]:
    pattern = measurements(label_map())[0]
    return tuple(
        replace(
            pattern,
            structure=each.label,
            segment_number=each.segment_number,
            label_value=each.label_value,
            tracking_identifier=each.tracking_identifier,
            tracking_uid=each.tracking_uid,
            category=each.category,
            property_type=each.property_type,
            type_modifier=None,
            value=float((labels == each.label_value).sum()) * VOXEL_ML,
        )
        for each in structures
    )


@pytest.mark.peer("dicom3tools", "dcmqi", "dcmtk")
def test_many_structures_are_told_one_by_one(
    crowd: tuple[NDArray[np.uint8], tuple[SegmentDescription, ...]], tmp_path: Path
) -> None:
    labels, structures = crowd
    source, seg, report = classic_series(), tmp_path / "seg.dcm", tmp_path / "sr.dcm"
    segmentation = build_segmentation(segmentation_request(source, labels, structures=structures))
    write_object(segmentation, seg)
    kept = measured(labels, structures)
    write_object(
        build_report(report_request(source, labels, segmentation, measurements=kept)), report
    )

    assert (dciodvfy(seg), dciodvfy(report), dsrdump(report)[1]) == ((), (), ())
    segments = segimage2itkimage(seg, tmp_path / "dcmqi")
    assert len(segments) == MANY - 1
    groups = tid1500reader(report, tmp_path / "dcmqi")["Measurements"]
    for group, expected, (image, told) in zip(groups, kept, segments.values(), strict=True):
        assert_tells(group, expected)
        assert told["TrackingUniqueIdentifier"] == expected.tracking_uid
        assert int(np.count_nonzero(image.values)) == (labels == expected.label_value).sum()


@pytest.mark.peer("dicom3tools", "dcmqi", "dcmtk", "real_images")
@pytest.mark.parametrize("name", SAMPLES)
def test_results_keep_the_names_of_every_character_set(name: str, tmp_path: Path) -> None:
    source = in_charset_of(name, tmp_path)
    made = made_result(source, label_map(), tmp_path)

    given, first = sample(name), source.first
    for path in (made.seg, made.report):
        written = dcmread(path)
        assert dciodvfy(path) == ()
        assert written.PatientName == first.PatientName
        assert written.StudyDescription == first.StudyDescription
        if "PatientName" in given:
            assert str(written.PatientName) == str(given.PatientName)
    tree, messages = dsrdump(made.report)
    assert (messages, "PRELIMINARY" in tree) == ((), True)
    groups = tid1500reader(made.report, tmp_path / "dcmqi")["Measurements"]
    for group, expected in zip(groups, measurements(label_map()), strict=True):
        assert_tells(group, expected)


@pytest.mark.peer("dicom3tools", "real_images")
@pytest.mark.parametrize("name", SAMPLES)
def test_pages_keep_the_names_of_every_character_set(name: str, tmp_path: Path) -> None:
    source = in_charset_of(name, tmp_path / "given")
    pages = made_pages(tmp_path, source, np.zeros_like(label_map()))
    for file, made in (("report.dcm", pages.pdf_object()), ("capture.dcm", pages.captured())):
        write_object(made, tmp_path / file)
        assert dciodvfy(tmp_path / file) == ()
        assert dcmread(tmp_path / file).PatientName == source.first.PatientName
