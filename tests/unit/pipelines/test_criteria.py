"""Tests of one header attribute."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from pipelines.criteria import Criterion, attribute_values


def header(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def failure(dataset: Dataset, tag: str, **test: Any) -> str | None:
    return Criterion.model_validate({"tag": tag, **test}).failure(dataset)


MR = header(
    Modality="MR",
    SeriesNumber=7,
    SliceThickness="1.50",
    PixelSpacing=["0.9", "0.8"],
    ImageType=["ORIGINAL", "PRIMARY", "M"],
    SeriesDescription="t1 of Doe, John",
    PatientWeight="70",
    PatientSex="F",
)


@pytest.mark.parametrize(
    ("tag", "test"),
    [
        ("Modality", {"equals": "MR"}),
        ("SeriesNumber", {"equals": 7}),
        ("SliceThickness", {"equals": 1.5}),
        ("Modality", {"one_of": ["CT", "MR"]}),
        ("SeriesDescription", {"matches": "(?i)T1"}),
        ("SliceThickness", {"between": [1.5, 1.5]}),
        ("PixelSpacing", {"between": [0.8, 0.9]}),
        ("ImageType", {"contains": "PRIMARY"}),
        ("ImageType", {"not_contains": "LOCALIZER"}),
        ("Modality", {"present": True}),
        ("EchoTime", {"present": False}),
        ("EchoTime", {"not_contains": 3}),
    ],
)
def test_a_header_that_fits_has_no_failure(tag: str, test: dict[str, Any]) -> None:
    assert failure(MR, tag, **test) is None


@pytest.mark.parametrize(
    ("tag", "test", "told"),
    [
        ("Modality", {"equals": "CT"}, "Modality MR is not CT"),
        ("SeriesNumber", {"one_of": [1, 2]}, "SeriesNumber 7 is not one of 1, 2"),
        ("SliceThickness", {"between": [0.5, 1]}, "SliceThickness 1.5 is not within 0.5 to 1"),
        ("PixelSpacing", {"between": [0.85, 1]}, "PixelSpacing 0.9, 0.8 is not within 0.85 to 1"),
        ("ImageType", {"not_contains": "M"}, "ImageType contains M"),
        (
            "ImageType",
            {"contains": "MPR"},
            "ImageType ORIGINAL, PRIMARY, M does not contain MPR",
        ),
        ("ImageType", {"equals": "M"}, "ImageType ORIGINAL, PRIMARY, M is not M"),
        ("EchoTime", {"equals": 3}, "EchoTime is missing"),
        ("EchoTime", {"present": True}, "EchoTime is missing"),
        ("Modality", {"present": False}, "Modality is present"),
    ],
)
def test_a_failure_tells_keyword_value_and_limit(tag: str, test: dict[str, Any], told: str) -> None:
    assert failure(MR, tag, **test) == told


@pytest.mark.parametrize(
    ("tag", "test"),
    [
        ("SeriesDescription", {"matches": "FLAIR"}),
        ("SeriesDescription", {"equals": "x"}),
        ("PatientWeight", {"between": [0, 1]}),
        ("PatientSex", {"equals": "M"}),
    ],
)
def test_a_failure_never_shows_what_could_name_the_patient(tag: str, test: dict[str, Any]) -> None:
    told = failure(MR, tag, **test) or ""
    assert told.startswith(f"{tag} ")
    assert not any(value in told for value in ("Doe", "70", "F "))


@given(st.text(min_size=1, max_size=16))
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_text_that_is_no_code_string_is_not_shown_either(value: str) -> None:
    dataset = Dataset()
    dataset.add_new("BodyPartExamined", "CS", value.replace("\\", "/"))
    told = failure(dataset, "BodyPartExamined", equals="ELSEWHERE") or ""
    assert re.fullmatch(r"BodyPartExamined( [A-Z0-9_ ]+)? is (not ELSEWHERE|missing)", told)


def test_a_value_that_breaks_its_representation_fails_and_is_quoted_nowhere(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    tag = Tag("SeriesNumber")
    broken = Dataset()
    broken[tag] = RawDataElement(tag, "IS", 4, b"Doe ", 0, False, True, True)
    assert failure(broken, "SeriesNumber", equals=1) == "SeriesNumber is not 1"
    assert "Doe" not in caplog.text + "".join(str(item.message) for item in recwarn)


def test_attributes_of_multi_frame_images_are_found_in_their_functional_groups() -> None:
    shared = header(PixelMeasuresSequence=Sequence([header(SliceThickness=2, PixelSpacing=[1, 1])]))
    frame = header(
        PlaneOrientationSequence=Sequence([header(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    )
    enhanced = header(
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence([frame, Dataset()]),
    )
    assert attribute_values(enhanced, "SliceThickness") == (2,)
    assert attribute_values(enhanced, "ImageOrientationPatient") == (1, 0, 0, 0, 1, 0)
    assert attribute_values(enhanced, "EchoTime") == ()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"tag": "SliceThicknes", "equals": 1}, "DICOM keyword"),
        ({"tag": "Modality"}, "exactly one of"),
        ({"tag": "Modality", "equals": "MR", "matches": "MR"}, "exactly one of"),
        ({"tag": "Modality", "matches": "("}, "not a regular expression"),
        ({"tag": "Modality", "matches": 3}, "in quotes"),
        ({"tag": "SliceThickness", "between": [2, 1]}, "the lower limit comes first"),
        ({"tag": "Modality", "equal": "MR"}, "Extra inputs"),
    ],
)
def test_a_wrong_entry_is_told_when_it_is_loaded(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Criterion.model_validate(entry)
