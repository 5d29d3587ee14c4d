"""Choosing series by their headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipelines.definition import load_definition
from pipelines.registry import SHIPPED_DEFINITIONS
from pipelines.selection import NoMatch, Selection, SeriesCandidate, select_inputs
from storage.dicom_records import SeriesHeader, SeriesRecord
from tests.unit.pipelines.classifier_bundle import classes
from tests.unit.pipelines.definitions import definition

HIPPOCAMPUS = load_definition(SHIPPED_DEFINITIONS / "hippocampus_mr.yaml")


def candidate(number: int | None, *, slices: int = 40, **attributes: Any) -> SeriesCandidate:
    header = Dataset()
    header.Modality = "MR"
    header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    header.SeriesNumber = number
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    record = SeriesRecord(
        SeriesHeader(f"2.25.{number or 0}", series_number=number), "2.25.1", slices
    )
    return SeriesCandidate(record, header, slices)


def crop(number: int | None = 11, **changes: Any) -> SeriesCandidate:
    attributes = {
        "SeriesDescription": "HippoCrop",
        "SliceThickness": 1,
        "PixelSpacing": [1, 1],
        "Rows": 50,
        "Columns": 34,
    }
    return candidate(number, **{**attributes, **changes})


def head(number: int, description: str) -> SeriesCandidate:
    return candidate(
        number,
        slices=22,
        SeriesDescription=description,
        SliceThickness=5,
        PixelSpacing=[0.6875, 0.6875],
        Rows=320,
        Columns=280,
    )


DECOYS = [head(11, "T1post"), head(12, "T1pre"), head(13, "T2"), head(14, "FLAIR hippocampus")]


def chosen(result: Selection | NoMatch) -> tuple[int | None, str]:
    assert isinstance(result, Selection)
    picked = result.inputs["image"]
    return picked.candidate.record.header.series_number, picked.reason


def reasons(result: Selection | NoMatch) -> tuple[str, ...]:
    assert isinstance(result, NoMatch)
    return result.reasons


def test_the_crop_is_found_among_whole_heads() -> None:
    result = select_inputs(HIPPOCAMPUS, [*DECOYS, crop(None)])
    failed = "SeriesDescription, SliceThickness, Rows, Columns"
    assert chosen(result) == (None, f"1 of 5 series fit; the others fail on {failed}")
    assert isinstance(result, Selection)
    assert len(result.rejected) == 4


@pytest.mark.parametrize(
    "description", ["HippoCrop", "HCropVolume", "hippocampus left", "HIPPO_CROP 1mm", "t1 h-crop"]
)
def test_a_crop_is_known_by_what_people_call_it(description: str) -> None:
    assert chosen(select_inputs(HIPPOCAMPUS, [crop(SeriesDescription=description)]))[0] == 11


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"Modality": "CT"}, "Modality CT is not MR"),
        ({"SeriesDescription": "hippo T1"}, "SeriesDescription does not match"),
        ({"SliceThickness": 5}, "SliceThickness 5 is not within 0.5 to 2"),
        ({"PixelSpacing": [3, 3]}, "PixelSpacing 3, 3 is not within 0.5 to 2"),
        ({"Rows": 512}, "Rows 512 is not within 20 to 128"),
        ({"Columns": 512}, "Columns 512 is not within 20 to 128"),
        ({"slices": 4}, "4 slices are not within 16 to 96"),
        ({"ImageType": ["DERIVED", "PRIMARY", "LOCALIZER"]}, "ImageType contains LOCALIZER"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is missing"),
    ],
)
def test_each_criterion_alone_turns_a_crop_away(change: dict[str, Any], told: str) -> None:
    assert reasons(select_inputs(HIPPOCAMPUS, [crop(**change)])) == (f"series 11, image: {told}",)


def test_reasons_do_not_hold_what_people_typed() -> None:
    series = [head(5, "DOE JANE knee"), crop(6, SeriesDescription="JANE", ProtocolName="DOE")]
    assert "JANE" not in "".join(reasons(select_inputs(HIPPOCAMPUS, series)))


def test_a_study_without_series_has_a_reason_too() -> None:
    assert reasons(select_inputs(HIPPOCAMPUS, [])) == ("the study has no series",)


def test_the_series_with_most_slices_is_preferred_and_the_reason_says_so() -> None:
    series = [crop(3, slices=30), crop(4, slices=40), *DECOYS]
    assert chosen(select_inputs(HIPPOCAMPUS, series)) == (
        4,
        "2 of 6 series fit; the others fail on SeriesDescription, SliceThickness, Rows, Columns; "
        "chosen: most slices (40)",
    )


def test_preferences_are_tried_in_order_until_one_decides() -> None:
    series = [crop(3, SliceThickness=1.5), crop(4, SliceThickness=1.2), crop(5, SliceThickness=1.2)]
    assert chosen(select_inputs(HIPPOCAMPUS, series)) == (
        5,
        "3 of 3 series fit; chosen: highest SeriesNumber",
    )


def test_a_series_that_does_not_say_loses_against_one_that_does() -> None:
    prefer = [{"tag": "EchoTime", "order": "ascending"}]
    where = [{"tag": "Modality", "equals": "MR"}]
    wanted = definition(inputs={"image": {"where": where, "allow_derived": True, "prefer": prefer}})
    assert chosen(select_inputs(wanted, [candidate(1), candidate(2, EchoTime=90)]))[0] == 2


def test_fewest_slices_can_be_preferred() -> None:
    where = [{"tag": "Modality", "equals": "MR"}]
    wanted = definition(
        inputs={"image": {"where": where, "allow_derived": True, "prefer": [{"slices": "fewest"}]}}
    )
    assert chosen(select_inputs(wanted, [candidate(1, slices=9), candidate(2, slices=8)])) == (
        2,
        "2 of 2 series fit; chosen: fewest slices (8)",
    )


@given(st.permutations([crop(3), crop(4), crop(5), crop(None), *DECOYS]))
def test_the_order_of_the_series_changes_nothing(series: list[SeriesCandidate]) -> None:
    expected = select_inputs(HIPPOCAMPUS, [crop(3), crop(4), crop(5), crop(None), *DECOYS])
    assert chosen(select_inputs(HIPPOCAMPUS, series)) == chosen(expected)


def test_equals_are_settled_by_their_uid_so_that_the_choice_stays_the_same() -> None:
    where = [{"tag": "Modality", "equals": "MR"}]
    wanted = definition(inputs={"image": {"where": where, "allow_derived": True, "prefer": []}})
    series = [candidate(8), candidate(7)]
    assert chosen(select_inputs(wanted, series)) == (
        7,
        "2 of 2 series fit; chosen: first of 2 equals by Series Instance UID",
    )


def test_a_series_fills_one_role_only() -> None:
    where = [{"tag": "Modality", "equals": "MR"}]
    any_mr = {"where": where, "allow_derived": True}
    wanted = definition(inputs={"first": any_mr, "second": any_mr})
    result = select_inputs(wanted, [candidate(1), candidate(2)])
    assert isinstance(result, Selection)
    numbers = {
        role: picked.candidate.record.header.series_number for role, picked in result.inputs.items()
    }
    assert sorted(number or 0 for number in numbers.values()) == [1, 2]
    assert isinstance(select_inputs(wanted, [candidate(1)]), NoMatch)


def test_frames_of_multi_frame_images_count_as_slices() -> None:
    enhanced = crop(3, slices=1, NumberOfFrames=40)
    assert enhanced.slice_count == 40
    assert chosen(select_inputs(HIPPOCAMPUS, [enhanced]))[0] == 3


def test_orientation_can_be_asked_for() -> None:
    where = [{"tag": "Modality", "equals": "MR"}]
    image = {"where": where, "allow_derived": True, "orientation": ["coronal", "oblique"]}
    wanted = definition(inputs={"image": image})
    assert reasons(select_inputs(wanted, [candidate(1)])) == (
        "series 1, image: orientation axial is not one of coronal, oblique",
    )
    turned = candidate(2, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    assert chosen(select_inputs(wanted, [turned]))[0] == 2


def test_a_derived_series_is_not_chosen_unless_the_definition_allows_it() -> None:
    where = [{"tag": "Modality", "equals": "MR"}]
    derived = candidate(1, slices=90)
    original = candidate(2, ImageType=["ORIGINAL", "PRIMARY", "M"])
    strict = definition(inputs={"image": {"where": where}})
    assert chosen(select_inputs(strict, [derived, original]))[0] == 2
    told = "series 1, image: ImageType is DERIVED, which allow_derived does not allow"
    assert reasons(select_inputs(strict, [derived])) == (told,)
    lenient = definition(inputs={"image": {"where": where, "allow_derived": True}})
    assert chosen(select_inputs(lenient, [derived, original]))[0] == 1


def exposure(number: int, time: str, view: str = "PA") -> SeriesCandidate:
    image = Dataset()
    image.Modality, image.ViewPosition, image.SeriesNumber = "DX", view, number
    image.ImageType = ["DERIVED", "PRIMARY"]
    image.Rows, image.SamplesPerPixel = 2000, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.AcquisitionDate, image.AcquisitionTime = "20240115", time
    image.SOPInstanceUID = f"2.25.9.{number}"
    record = SeriesRecord(SeriesHeader(f"2.25.{number}", series_number=number), "2.25.1", 1)
    return SeriesCandidate(record, image, 1, (image,))


def x_rays(**image: Any) -> Any:
    where = [{"tag": "Modality", "equals": "DX"}]
    entry = {"kind": "projection", "where": where, "views": ["frontal"], **image}
    return definition(**{**classes(0.5, 0.5), "inputs": {"image": entry}})


EXPOSURES = [exposure(3, "0930", "LL"), exposure(2, "0931"), exposure(1, "0945")]


def test_of_two_exposures_none_is_taken_by_chance() -> None:
    found = select_inputs(x_rays(), EXPOSURES)
    assert isinstance(found, NoMatch)
    assert "2 series hold an image that fits (series 1, series 2)" in found.reasons[-1]


@pytest.mark.parametrize(
    ("policy", "number"),
    [
        ({"several_images": "first"}, 2),
        ({"several_images": "last"}, 1),
        ({"prefer": [{"tag": "SeriesNumber", "order": "descending"}]}, 2),
    ],
)
def test_the_definition_says_which_exposure_is_taken(policy: dict[str, Any], number: int) -> None:
    for candidates in (EXPOSURES, EXPOSURES[::-1]):
        found = select_inputs(x_rays(**policy), candidates)
        assert isinstance(found, Selection)
        assert found.inputs["image"].candidate.record.header.series_number == number
