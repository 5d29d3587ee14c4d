"""Headers as scanners and archives write them; each once stopped a library or lost a name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.errors import RefusalCode, Refused
from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_header import OPTIONAL, TYPE_2, patient_and_study, sanitised
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import encoded_object
from tests.unit.pipelines_objects.result_requests import (
    label_map,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import classic_series

Edit = Callable[[Dataset], None]
NAMES = [
    ("ISO_IR 100", "Buc^Jérôme"),
    ("ISO_IR 126", "Διονυσιος"),
    ("ISO_IR 144", "Люкceмбypг"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ("GB18030", "Wang^XiaoDong=王^小东"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
]


def without(keyword: str) -> Edit:
    return lambda header: header.__delattr__(keyword)


def with_value(keyword: str, value: Any) -> Edit:
    def edit(header: Dataset) -> None:
        with pydicom_config.disable_value_validation():
            header.pop(keyword, None)
            setattr(header, keyword, value)

    return edit


def edited(edit: Edit) -> SourceSeries:
    return classic_series(edit=lambda header, _: edit(header))


def as_received(source: SourceSeries) -> SourceSeries:
    """The same headers, read from files: text is still in its own encoding."""
    headers = []
    for header in source.headers:
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = BytesIO()
        header.save_as(buffer, enforce_file_format=True)
        headers.append(dcmread(BytesIO(buffer.getvalue())))
    return SourceSeries(tuple(headers))


def written(source: SourceSeries) -> tuple[Dataset, Dataset]:
    """SEG and SR as another program would read them."""
    labels = label_map()
    segmentation = build_segmentation(segmentation_request(source, labels))
    report = build_report(report_request(source, labels, segmentation))
    return (
        dcmread(BytesIO(encoded_object(segmentation))),
        dcmread(BytesIO(encoded_object(report))),
    )


@pytest.mark.parametrize("keyword", [*TYPE_2, *OPTIONAL])
def test_every_attribute_taken_over_is_one_of_the_standard(keyword: str) -> None:
    assert tag_for_keyword(keyword) is not None


@pytest.mark.parametrize("keyword", TYPE_2)
def test_a_missing_type_2_attribute_is_written_empty(keyword: str) -> None:
    for result in written(edited(without(keyword))):
        assert keyword in result
        assert not result.get(keyword)


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientSex", "U", ""),
        ("PatientSex", "M ", "M"),
        ("PatientSex", "f", "F"),
        ("PatientSex", "O", "O"),
        ("PatientBirthDate", "19640231", "19640231"),
        ("PatientBirthDate", "1964-2", ""),
        ("StudyTime", "25", ""),
        ("StudyTime", "093000.5", "093000.5"),
        ("StudyDate", "yesterday", ""),
        ("PatientID", None, ""),
    ],
)
def test_a_value_is_kept_or_unknown_but_never_invalid(
    keyword: str, value: str | None, expected: str
) -> None:
    for result in written(edited(with_value(keyword, value))):
        assert str(result.get(keyword) or "") == expected


def test_an_invalid_optional_value_is_left_out() -> None:
    for result in written(edited(with_value("PatientAge", "sixty"))):
        assert "PatientAge" not in result


def test_text_longer_than_its_vr_is_kept_as_it_came() -> None:
    description = "x" * 70
    for result in written(edited(with_value("StudyDescription", description))):
        with pydicom_config.disable_value_validation():
            assert result.StudyDescription == description


@pytest.mark.parametrize("charset", [None, "", "ISO_IR 6"])
def test_a_header_without_a_character_set_gives_a_utf_8_result(charset: str | None) -> None:
    def edit(header: Dataset) -> None:
        header.PatientName = "Gruen^Zoe"
        header.StudyDescription = "Schaedel"
        header.ReferringPhysicianName = ""
        header.SpecificCharacterSet = charset

    for result in written(as_received(edited(edit))):
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert result.PatientName == "Gruen^Zoe"


@pytest.mark.parametrize(("charset", "name"), NAMES)
def test_a_name_in_any_character_set_arrives_as_it_was(charset: str | list[str], name: str) -> None:
    def edit(header: Dataset) -> None:
        header.SpecificCharacterSet = charset
        header.PatientName = name
        header.StudyDescription = "head"
        header.ReferringPhysicianName = ""

    for result in written(as_received(edited(edit))):
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName) == name


def test_an_item_with_a_character_set_of_its_own_is_decoded_with_it() -> None:
    def edit(header: Dataset) -> None:
        item = Dataset()
        item.SpecificCharacterSet = "ISO_IR 144"
        item.PatientID = "Люкс"
        header.OtherPatientIDsSequence = [item]

    for result in written(as_received(edited(edit))):
        (item,) = result.OtherPatientIDsSequence
        assert item.PatientID == "Люкс"
        assert "SpecificCharacterSet" not in item


def test_patient_and_study_arrive_verbatim() -> None:
    source = as_received(classic_series())
    for result in written(source):
        for keyword in (*TYPE_2, *OPTIONAL):
            assert str(result.get(keyword, "")) == str(source.first.get(keyword, ""))
        assert result.IssuerOfPatientID == "HOSPITAL-A"
        (issuer,) = result.IssuerOfAccessionNumberSequence
        assert issuer.LocalNamespaceEntityID == "RIS-A"


def test_nothing_private_is_taken_over() -> None:
    def edit(header: Dataset) -> None:
        item = header.IssuerOfAccessionNumberSequence[0]
        item.private_block(0x0031, "SCANNER PRIVATE", create=True).add_new(1, "LO", "nested")

    for result in written(edited(edit)):
        assert not any(element.tag.is_private for element in result.iterall())


def test_without_slice_thickness_the_spacing_takes_its_place() -> None:
    segmentation, _ = written(edited(without("SliceThickness")))
    (measures,) = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2.5, 2.5)


def test_a_wrong_spacing_in_the_header_does_not_get_through() -> None:
    segmentation, _ = written(edited(with_value("SpacingBetweenSlices", "9.0")))
    (measures,) = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2.0, 2.5)


def test_directions_that_differ_in_the_last_digit_do_not_stop_a_result() -> None:
    def edit(header: Dataset, index: int) -> None:
        header.ImageOrientationPatient[0] = 0.96 + index * 1e-6

    segmentation, _ = written(classic_series(edit=edit))
    assert segmentation.NumberOfFrames > 0


def test_a_series_without_a_frame_of_reference_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        sanitised(edited(without("FrameOfReferenceUID")), 2.5)
    assert refused.value.code is RefusalCode.NO_GEOMETRY


def test_source_headers_are_not_changed() -> None:
    source = classic_series()
    before = [header.to_json() for header in source.headers]
    written(source)
    assert [header.to_json() for header in source.headers] == before


def test_no_name_is_spoken_in_warnings_or_logs(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(logging.DEBUG)

    def edit(header: Dataset) -> None:
        with_value("PatientName", "Mononymous")(header)
        with_value("PatientBirthDate", "Mononymous")(header)
        with_value("StudyTime", "Mononymous")(header)

    written(edited(edit))
    spoken = caplog.text + "".join(str(item.message) for item in recwarn)
    assert "Mononymous" not in spoken


def test_an_undecodable_name_does_not_stop_a_result() -> None:
    source = as_received(edited(with_value("PatientName", "Gr\u00fcn^Zo\u00eb")))
    for header in source.headers:
        header.SpecificCharacterSet = "ISO_IR 192"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taken = patient_and_study(source.first)
    assert str(taken.PatientName).startswith("Gr")
