"""X-rays: which image is taken, how it is read, and how it is handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipelines.criteria import Criterion
from pipelines.errors import RefusalCode, Refused
from pipelines.input_reading import read_input
from pipelines.projection import pixel_spacing_mm
from pipelines.projection_views import Turn, View, turn_of, view_of
from pipelines.reading_policy import ReadingPolicy
from tests.unit.pipelines.projections import chest, saved, write_x_ray, x_ray
from tests.unit.pipelines.read_x_rays import ANY, DISPLAYED, read, refused

FRONTAL = ReadingPolicy(kind="projection", views=(View.FRONTAL,))


def header(**attributes: Any) -> Dataset:
    found = Dataset()
    found.Modality = "DX"
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found


def coded_view(value: str, scheme: str) -> dict[str, Any]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "view"
    return {"ViewCodeSequence": [item]}


def test_an_x_ray_is_one_slice_with_the_spacing_of_its_detector(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert np.array_equal(found.voxels[0], chest())
    assert found.spacing_mm == (1.0, 0.143, 0.143)
    assert found.is_projection


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ImagerPixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.15, 0.15]}, (0.15, 0.15)),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.16, 0.16),
        ),
        ({"ImagerPixelSpacing": [0.0, 0.2]}, None),
        ({"ImagerPixelSpacing": [0.2]}, None),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({}, None),
    ],
)
def test_spacing_is_that_at_the_body_where_it_is_stated(
    attributes: dict[str, Any], expected: tuple[float, float] | None
) -> None:
    found = pixel_spacing_mm(header(**attributes))
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ViewPosition": "PA"}, View.FRONTAL),
        ({"ViewPosition": "AP"}, View.FRONTAL),
        ({"ViewPosition": "LL"}, View.LATERAL),
        ({"ViewPosition": "RLD"}, None),
        (coded_view("272479007", "SCT"), View.FRONTAL),
        (coded_view("R-10214", "SRT"), View.FRONTAL),
        (coded_view("399173006", "SCT"), View.LATERAL),
        ({**coded_view("399173006", "SCT"), "ViewPosition": "PA"}, View.LATERAL),
        ({"PatientOrientation": ["L", "F"]}, View.FRONTAL),
        ({"PatientOrientation": ["A", "F"]}, View.LATERAL),
        ({"PatientOrientation": ["P", "FL"]}, View.LATERAL),
        ({"SeriesDescription": "Thorax p.a."}, View.FRONTAL),
        ({"SeriesDescription": "CHEST LAT"}, View.LATERAL),
        ({"SeriesDescription": "CHEST PA and LAT"}, None),
        ({"SeriesDescription": "Papilla"}, None),
        ({"Modality": "MG", **coded_view("399162004", "SCT")}, View.CRANIO_CAUDAL),
        ({"Modality": "MG", "ViewPosition": "MLO"}, View.MEDIO_LATERAL_OBLIQUE),
        ({"Modality": "MG", "PatientOrientation": ["A", "R"]}, None),
        ({}, None),
    ],
)
def test_a_view_is_told_by_whatever_the_device_fills(
    attributes: dict[str, Any], expected: View | None
) -> None:
    assert view_of(header(**attributes)) is expected


def two_views(folder: Path, **second: Any) -> list[Path]:
    return [
        saved(x_ray(chest(), 1, ViewPosition="LL", PatientOrientation=["A", "F"]), folder / "1"),
        saved(x_ray(chest(seed=9), 2, **second), folder / "2"),
    ]


def test_the_frontal_view_is_taken_of_two(tmp_path: Path) -> None:
    found = read_input(two_views(tmp_path), FRONTAL)
    assert found.source.first.SOPInstanceUID == "2.25.3100.2"
    assert np.array_equal(found.voxels[0], chest(seed=9))


def test_several_that_fit_are_refused_unless_the_definition_chooses(tmp_path: Path) -> None:
    early, late = (
        saved(x_ray(chest(), n, AcquisitionDate="20240115", AcquisitionTime=time), tmp_path / name)
        for n, time, name in ((2, "093000", "2"), (1, "094500.5", "1"))
    )
    with pytest.raises(Refused, match="2 images that fit") as caught:
        read_input([late, early], FRONTAL)
    assert caught.value.code is RefusalCode.SEVERAL_IMAGES
    for which, uid in (("first", "2.25.3100.2"), ("last", "2.25.3100.1")):
        policy = ReadingPolicy(kind="projection", several_images=which)  # type: ignore[arg-type]
        assert read_input([late, early], policy).source.first.SOPInstanceUID == uid


def test_criteria_judge_each_image_of_the_series(tmp_path: Path) -> None:
    paths = two_views(tmp_path, BodyPartExamined="HAND")
    policy = ReadingPolicy(
        kind="projection", where=(Criterion(tag="BodyPartExamined", equals="HAND"),)
    )
    assert read_input(paths, policy).source.first.SOPInstanceUID == "2.25.3100.2"


@pytest.mark.parametrize(
    ("attributes", "code", "told"),
    [
        ({"ViewPosition": "LL"}, RefusalCode.WRONG_VIEW, "the view is lateral, not frontal"),
        (
            {"ViewPosition": None, "PatientOrientation": None},
            RefusalCode.WRONG_VIEW,
            "the view is not stated",
        ),
        ({"Modality": "CT"}, RefusalCode.NOT_A_PROJECTION, "no projections by X-rays"),
        ({"Modality": "XC"}, RefusalCode.NOT_A_PROJECTION, "no projections by X-rays"),
        ({"Modality": "SR"}, RefusalCode.NOT_A_PROJECTION, "no images"),
        ({"NumberOfFrames": 3}, RefusalCode.NOT_A_PROJECTION, "several frames"),
        ({"PresentationIntentType": "FOR PROCESSING"}, RefusalCode.FOR_PROCESSING, "1 of 1"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, RefusalCode.DERIVED, "allow_derived"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
            RefusalCode.SECONDARY_CAPTURE,
            "secondary captures",
        ),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, RefusalCode.NOT_GREYSCALE, "colour"),
        ({"SeriesInstanceUID": ""}, RefusalCode.UNIDENTIFIED, "SeriesInstanceUID"),
        ({"HighBit": 15}, RefusalCode.UNREADABLE_PIXELS, "HighBit"),
    ],
)
def test_what_is_not_the_wanted_x_ray_is_refused_by_code(
    tmp_path: Path, attributes: dict[str, Any], code: RefusalCode, told: str
) -> None:
    found = refused(tmp_path, FRONTAL, **attributes)
    assert found.code is code
    assert told in found.text


def test_raw_and_reworked_images_are_taken_where_the_definition_allows_them(
    tmp_path: Path,
) -> None:
    freely = ReadingPolicy(kind="projection", allow_for_processing=True, allow_derived=True)
    raw = {"PresentationIntentType": "FOR PROCESSING", "ImageType": ["DERIVED", "SECONDARY"]}
    assert np.array_equal(read(tmp_path, freely, **raw).voxels[0], chest())


def test_blank_and_lossy_ones_are_refused(tmp_path: Path) -> None:
    flat = saved(x_ray(np.full((20, 20), 7, np.uint16)), tmp_path / "flat")
    with pytest.raises(Refused) as caught:
        read_input([flat], ANY)
    assert caught.value.code is RefusalCode.NO_CONTRAST
    strict = ReadingPolicy(kind="projection", allow_lossy=False)
    assert refused(tmp_path, strict, LossyImageCompression="01").code is (
        RefusalCode.LOSSY_COMPRESSION
    )


ORIENTATIONS = [
    ("L\\F", ["L", "F"]),
    ("R\\F", ["R", "F"]),
    ("L\\H", ["L", "H"]),
    ("R\\H", ["R", "H"]),
    ("F\\L", ["F", "L"]),
    ("H\\R", ["H", "R"]),
]


@pytest.mark.parametrize(("stated"), [o for _, o in ORIENTATIONS], ids=[n for n, _ in ORIENTATIONS])
def test_however_it_is_stored_the_model_sees_it_upright(stated: list[str]) -> None:
    upright = chest()
    stored = upright
    if stated[0] in "HF":
        across, down = stated[1], stated[0]
    else:
        across, down = stated
    stored = stored[::-1] if down == "H" else stored
    stored = stored[:, ::-1] if across == "R" else stored
    stored = stored.T if stated[0] in "HF" else stored
    turn = turn_of(header(PatientOrientation=stated))
    assert np.array_equal(turn.upright(stored), upright)
    assert np.array_equal(turn.back(upright), stored)


@given(st.booleans(), st.booleans(), st.booleans())
def test_turning_back_undoes_turning(transposed: bool, rows: bool, columns: bool) -> None:
    turn = Turn(transposed, rows, columns)
    pixels = np.arange(6).reshape(2, 3)
    assert np.array_equal(turn.back(turn.upright(pixels)), pixels)
    assert np.array_equal(turn.upright(turn.back(pixels)), pixels)


def test_a_breast_and_an_unknown_orientation_stay_as_stored() -> None:
    assert turn_of(header(Modality="MG", PatientOrientation=["R", "H"])) == Turn()
    assert turn_of(header()) == Turn()
    assert turn_of(header(PatientOrientation=["X", "F"])) == Turn()


HOSTILE: dict[str, dict[str, Any]] = {
    "window": {"WindowCenter": 31415, "WindowWidth": 31415},
    "spacing": {"ImagerPixelSpacing": [31415, 31415]},
    "aspect": {"ImagerPixelSpacing": None, "PixelAspectRatio": ["31415", "31415"]},
    "instance number": {"InstanceNumber": 31415},
    "frames": {"NumberOfFrames": 31415},
    "magnification": {"EstimatedRadiographicMagnificationFactor": 31415},
    "rescale": {"RescaleSlope": 31415},
    "aspect of nothing": {"ImagerPixelSpacing": None, "PixelAspectRatio": ["0", "0"]},
    "views without codes": {"ViewCodeSequence": [Dataset(), Dataset()]},
    "no directions": {"PatientOrientation": ["", ""]},
    "three directions": {"PatientOrientation": ["L", "F", "H"]},
    "no image type": {"ImageType": ""},
}
"""The number stands for a word, which no number's value representation allows."""


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("policy", [FRONTAL, DISPLAYED], ids=["modality", "displayed"])
def test_a_header_that_makes_no_sense_is_read_around_or_refused(
    tmp_path: Path, name: str, policy: ReadingPolicy
) -> None:
    path = write_x_ray(tmp_path, **HOSTILE[name])
    path.write_bytes(path.read_bytes().replace(b"31415", b"words"))
    try:
        found = read_input([path], policy)
    except Refused:
        return
    assert found.voxels.shape == (1, *chest().shape)
    assert all(0 < edge < 100 for edge in found.spacing_mm)
    assert turn_of(found.source.first) == Turn()
