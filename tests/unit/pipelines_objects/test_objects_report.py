from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import encoded_object
from storage.dicom_records import CodedConcept
from tests.unit.pipelines_objects.result_requests import (
    BRAIN,
    ORIGIN,
    STRUCTURES,
    UIDS,
    label_map,
    measurements,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import SERIES, STUDY, classic_series

ONLY_POSTERIOR = np.where(label_map() == 2, 2, 0).astype(np.uint8)
NOTHING = np.zeros_like(label_map())


def report_on(labels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> Dataset:
    source = classic_series()
    segmentation = None
    if labels.any():
        segmentation = build_segmentation(segmentation_request(source, labels))
    return build_report(report_request(source, labels, segmentation))


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def named(node: Dataset, code: str) -> list[Dataset]:
    return [item for item in items(node) if item.ConceptNameCodeSequence[0].CodeValue == code]


def value(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


def test_it_is_a_preliminary_unverified_complete_measurement_report() -> None:
    report = report_on(label_map())
    assert report.SOPClassUID == Comprehensive3DSRStorage
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert report.CompletionFlag == "COMPLETE"
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.SeriesNumber, report.SeriesDescription) == (9002, "AI hippocampus report")


def test_the_observer_is_the_model() -> None:
    report = report_on(label_map())
    assert value(named(report, "121005")[0]) == "121007"
    assert ORIGIN.algorithm.device_uid == named(report, "121012")[0].UID
    assert named(report, "121013")[0].TextValue == "node-1"
    assert named(report, "121014")[0].TextValue == "radnode"
    assert named(report, "121015")[0].TextValue == "hippocampus-net"


def test_each_present_structure_has_a_group_with_its_volume_and_its_segment() -> None:
    labels = label_map()
    groups = named(report_on(labels), "125007")
    assert [group.ContentTemplateSequence[0].TemplateIdentifier for group in groups] == ["1411"] * 2
    for number, (group, expected) in enumerate(zip(groups, measurements(labels), strict=True), 1):
        assert named(group, "112039")[0].TextValue == expected.tracking_identifier
        assert expected.tracking_uid == named(group, "112040")[0].UID
        (reference,) = named(group, "121191")[0].ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == UIDS.seg_instance
        assert reference.ReferencedSegmentNumber == number
        assert named(group, "121232")[0].UID == SERIES
        (measured,) = named(group, "118565006")[0].MeasuredValueSequence
        assert float(measured.NumericValue) == expected.value
        assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "mL"
        assert named(group, "111001")[0].TextValue == "hippocampus-net"
        assert named(group, "111003")[0].TextValue == "1.2.0"


def test_a_value_is_written_without_the_noise_of_floats() -> None:
    labels, source = label_map(), classic_series()
    noisy = tuple(replace(item, value=1.7810000000000001) for item in measurements(labels))
    segmentation = build_segmentation(segmentation_request(source, labels))
    report = build_report(report_request(source, labels, segmentation, measurements=noisy))
    (measured,) = named(report, "118565006")[0].MeasuredValueSequence
    assert str(measured.NumericValue) == "1.781"


def test_a_group_says_what_was_found_and_where() -> None:
    first = named(report_on(label_map()), "125007")[0]
    assert value(named(first, "276214006")[0]) == "91723000"
    assert value(named(first, "121071")[0]) == "5366008"
    (site,) = named(first, "363698007")
    assert value(site) == "5366008"
    assert value(named(site, "106233006")[0]) == "255549009"


def test_items_of_a_group_stand_in_the_order_of_the_template() -> None:
    group = named(report_on(label_map()), "125007")[0]
    order = [item.ConceptNameCodeSequence[0].CodeValue for item in group.ContentSequence]
    assert order == [
        "112039",
        "112040",
        "276214006",
        "121071",
        "121191",
        "121232",
        "363698007",
        "118565006",
    ]


def test_a_side_is_told_as_laterality_of_the_region_of_a_lesion() -> None:
    labels = label_map()
    lesion = [
        replace(
            item,
            category=CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure"),
            property_type=CodedConcept("52988006", "SCT", "Lesion"),
            type_modifier=CodedConcept("7771000", "SCT", "Left"),
            anatomic_region=BRAIN,
        )
        for item in measurements(labels)
    ]
    source = classic_series()
    segmentation = build_segmentation(segmentation_request(source, labels))
    request = report_request(source, labels, segmentation, measurements=tuple(lesion))
    (site, _) = named(build_report(request), "363698007")
    assert value(site) == "12738006"
    assert value(named(site, "272741003")[0]) == "7771000"


def test_a_part_of_a_lesion_says_nothing_about_its_region() -> None:
    labels = label_map()
    lesion = tuple(
        replace(item, category=CodedConcept("49755003", "SCT", "Morphologically Abnormal"))
        for item in measurements(labels)
    )
    source = classic_series()
    segmentation = build_segmentation(segmentation_request(source, labels))
    report = build_report(report_request(source, labels, segmentation, measurements=lesion))
    site = named(report, "363698007")[0]
    assert value(site) == "12738006"
    assert "ContentSequence" not in site


def test_an_absent_structure_is_told_as_absent() -> None:
    report = report_on(ONLY_POSTERIOR)
    assert len(named(report, "125007")) == 1
    (absence,) = [item for item in named(report, "5366008") if item.ValueType == "CODE"]
    assert value(absence) == "272519000"
    assert value(named(absence, "106233006")[0]) == "255549009"
    (remark,) = named(report, "121106")
    assert "not found: Anterior hippocampus." in remark.TextValue


@pytest.mark.parametrize(
    ("labels", "summary"),
    [(label_map(), "111242"), (ONLY_POSTERIOR, "111242"), (NOTHING, "111241")],
    ids=["all", "one absent", "none"],
)
def test_the_summary_says_whether_anything_was_found(
    labels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]], summary: str
) -> None:
    (item,) = named(report_on(labels), "111017")
    assert value(item) == summary


def test_without_findings_there_are_no_groups_but_every_structure_is_told() -> None:
    report = report_on(NOTHING)
    assert named(report, "126010") == []
    assert [value(item) for item in named(report, "5366008")] == ["272519000"] * 2


def test_it_says_that_nobody_reviewed_it() -> None:
    for labels in (label_map(), NOTHING):
        (remark,) = named(report_on(labels), "121106")
        assert "not reviewed by a physician" in remark.TextValue
        assert "hippocampus-net 1.2.0" in remark.TextValue


def evidence(report: Dataset) -> dict[str, set[str]]:
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == STUDY
    return {
        series.SeriesInstanceUID: {
            item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence
        }
        for series in study.ReferencedSeriesSequence
    }


def test_source_images_and_seg_are_the_evidence() -> None:
    images = {header.SOPInstanceUID for header in classic_series().headers}
    assert evidence(report_on(label_map())) == {
        SERIES: images,
        UIDS.seg_series: {UIDS.seg_instance},
    }
    assert evidence(report_on(NOTHING)) == {SERIES: images}


def test_other_series_that_the_model_read_are_evidence_too() -> None:
    def another(header: Dataset, index: int) -> None:
        header.SeriesInstanceUID = "2.25.1099"
        header.SOPInstanceUID = f"2.25.1099.{index + 1}"

    request = report_request(
        classic_series(), NOTHING, None, further_sources=(classic_series(edit=another),)
    )
    assert set(evidence(build_report(request))) == {SERIES, "2.25.1099"}


def test_there_is_no_image_library() -> None:
    assert named(report_on(label_map()), "111028") == []


def test_the_same_report_request_gives_the_same_bytes() -> None:
    assert encoded_object(report_on(label_map())) == encoded_object(report_on(label_map()))


def test_all_uids_of_the_report_are_given_or_of_the_source() -> None:
    report = report_on(label_map())
    uids = {str(element.value) for element in report.iterall() if element.VR == "UI"}
    known = {UIDS.sr_instance, UIDS.sr_series, UIDS.seg_instance, UIDS.seg_series}
    known |= {item.tracking_uid for item in STRUCTURES} | {ORIGIN.algorithm.device_uid}
    others = {uid for uid in uids if not uid.startswith(("1.2.840.10008.", "2.25.100"))}
    assert others == known


def test_findings_without_a_seg_are_an_error() -> None:
    with pytest.raises(ValueError, match="SEG goes with findings"):
        report_request(classic_series(), label_map(), None)


def test_a_report_about_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="what was looked for"):
        report_request(classic_series(), NOTHING, None, measurements=())
