"""Classifiers of several projections: the four views of a mammography, one by one and stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DigitalMammographyXRayImageStorageForProcessing

from pipelines.errors import RefusalCode
from pipelines.pages import Wanted
from pipelines.registry import register
from storage.records import ObjectKind, Outcome
from tests.integration.pipelines.mammogram_runs import (
    SPOT,
    centre,
    certainties,
    groups,
    heats,
    hot,
    images_of,
    items,
    per_view,
    refused,
    run,
    uid,
)
from tests.peers.dicom_checkers import dciodvfy
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import (
    NUMBERS,
    VIEWS,
    breast,
    classes,
    inputs,
    mammogram,
    write_mammography,
)
from tests.unit.pipelines.projections import saved


def test_each_view_each_breast_and_the_patient_get_an_answer(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    result = run(per_view(tmp_path), tmp_path)
    found = certainties(result)
    assert list(found) == ["", "right", "left", "RCC", "LCC", "RMLO", "LMLO"]
    assert found[""] == found["right"] == found["RMLO"] > 99
    assert found["left"] == found["LCC"] == found["LMLO"] == pytest.approx(100 / 3)
    assert result.outcome is Outcome.FINDINGS
    sides = {m.structure: m.type_modifier for m in result.measurements}
    assert [getattr(sides[f"Cyst ({n})"], "meaning", "") for n in ("right", "LMLO")] == [
        "Right",
        "Left",
    ]


def test_what_is_told_of_a_picture_is_what_that_picture_alone_gets(tmp_path: Path) -> None:
    spots = {"rcc": (slice(1, 4), slice(1, 4)), "lmlo": SPOT}
    write_mammography(tmp_path / "in", spots)
    together = certainties(run(per_view(tmp_path, 0.1, 0.99), tmp_path))
    for role in VIEWS:
        alone = {**classes(0.1, 0.99), "inputs": inputs(role)}
        single = register(definition(**alone), tmp_path)
        assert certainties(run(single, tmp_path, role))[""] == together[role.upper()]


def test_the_report_names_the_pictures_that_each_answer_is_of(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    result = run(per_view(tmp_path, explanation={}), tmp_path)
    told = groups(dcmread(tmp_path / "out" / "sr.dcm"))
    assert images_of(told["cyst"], "121112") == [uid(role) for role in VIEWS]
    assert images_of(told["cyst right"], "121112") == [uid("rcc"), uid("rmlo")]
    assert images_of(told["cyst LCC"], "121112") == [uid("lcc")]
    (heat,) = heats(result, tmp_path / "out").values()
    assert images_of(told["cyst RMLO"], "130401") == [heat.SOPInstanceUID]
    site = next(
        i
        for i in told["cyst left"].ContentSequence
        if i.ConceptNameCodeSequence[0].CodeValue == "363698007"
    )
    assert site.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning == "Left"


@pytest.mark.peer("dicom3tools")
def test_the_key_image_is_the_view_on_which_it_was_found(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT, "lcc": SPOT})
    wanted = Wanted(frozenset({ObjectKind.KOS, ObjectKind.PR}))
    result = run(per_view(tmp_path), tmp_path, wanted=wanted)
    assert [one.kind for one in result.objects] == [ObjectKind.SR, ObjectKind.KOS]
    path = tmp_path / "out" / result.objects[-1].path
    named = [
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in items(dcmread(path))
        if item.ValueType == "IMAGE"
    ]
    assert sorted(named) == sorted([uid("rmlo"), uid("lcc")])
    assert dciodvfy(path) == ()


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_each_view_gets_its_own_heat_map_on_its_own_pixels(tmp_path: Path, method: str) -> None:
    other = (slice(30, 35), slice(3, 7))
    write_mammography(tmp_path / "in", {"rmlo": SPOT, "lcc": other})
    result = run(per_view(tmp_path, explanation={"method": method}), tmp_path)
    found = heats(result, tmp_path / "out")
    assert set(found) == {"rmlo", "lcc"}
    for role, spot in (("rmlo", SPOT), ("lcc", other)):
        planted = breast(role, spot) > 200
        assert hot(found[role]).shape == planted.shape
        assert np.abs(centre(hot(found[role])) - centre(planted)).max() < 3
    assert len({str(one.SOPInstanceUID) for one in found.values()}) == 2


def test_views_that_lie_in_one_series_are_told_apart_by_their_own_headers(tmp_path: Path) -> None:
    same = {role: {"SeriesInstanceUID": "2.25.3001", "SeriesNumber": 1} for role in VIEWS}
    write_mammography(tmp_path / "in", {"lmlo": SPOT}, **same)
    found = certainties(run(per_view(tmp_path), tmp_path))
    assert found["LMLO"] > 99 > 40 > found["RMLO"]


def test_a_missing_view_is_refused_with_the_counts_and_its_name(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    (tmp_path / "in" / "lmlo.dcm").unlink()
    found = refused(per_view(tmp_path), tmp_path)
    assert found.code is RefusalCode.MISSING_VIEW
    assert "3 of 4 views are there once; not lmlo" in found.text
    assert "series 3, lmlo: the laterality is R, not L" in found.text


def test_a_missing_view_may_be_left_out_where_each_is_judged_alone(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rcc": SPOT})
    for role in ("lcc", "lmlo"):
        (tmp_path / "in" / f"{role}.dcm").unlink()
    result = run(per_view(tmp_path, missing_views="leave_out"), tmp_path)
    assert list(certainties(result)) == ["", "right", "RCC", "RMLO"]


@pytest.mark.parametrize("leaves_out", [False, True])
def test_a_view_that_is_there_twice_is_refused(tmp_path: Path, leaves_out: bool) -> None:
    write_mammography(tmp_path / "in")
    again = mammogram("rcc", SeriesInstanceUID="2.25.3001.9", SeriesNumber=9)
    again.SOPInstanceUID = "2.25.3100.9"
    saved(again, tmp_path / "in" / "again.dcm")
    policy = "leave_out" if leaves_out else "refuse"
    found = refused(per_view(tmp_path, missing_views=policy), tmp_path)
    assert found.code is RefusalCode.SEVERAL_IMAGES
    assert "rcc: 2 series hold an image that fits (series 1, series 9)" in found.text
    last = inputs(several_images="last")
    result = run(per_view(tmp_path, inputs=last), tmp_path)
    assert len(certainties(result)) == 7


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"ImageLaterality": None}, "not stated"),
        ({"ImageLaterality": "", "Laterality": ""}, "not stated"),
        ({"ImageLaterality": "U"}, "not stated"),
        ({"Laterality": "R"}, "contradict each other"),
    ],
    ids=["none", "empty", "unpaired", "contradictory"],
)
def test_a_side_that_is_not_told_is_refused_by_its_own_code(
    tmp_path: Path, stated: dict[str, Any], told: str
) -> None:
    write_mammography(tmp_path / "in", lcc=stated)
    found = refused(per_view(tmp_path), tmp_path)
    assert found.code is RefusalCode.WRONG_LATERALITY
    assert (
        f"series 2, lcc: Image Laterality and Laterality {'' if 'con' in told else 'are '}{told}"
        in found.text
    )


def test_a_side_that_is_not_told_is_found_among_the_views_of_one_series(tmp_path: Path) -> None:
    same: dict[str, dict[str, Any]] = {
        role: {"SeriesInstanceUID": "2.25.3001", "SeriesNumber": 1} for role in VIEWS
    }
    same["lcc"] |= {"ImageLaterality": None}
    write_mammography(tmp_path / "in", **same)
    assert refused(per_view(tmp_path), tmp_path).code is RefusalCode.WRONG_LATERALITY


def test_the_laterality_of_the_series_does_where_the_image_has_none(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", lcc={"ImageLaterality": None, "Laterality": "L"})
    assert len(certainties(run(per_view(tmp_path), tmp_path))) == 7


def test_a_spot_compression_is_not_the_standard_view(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    spot = mammogram("rcc", SeriesInstanceUID="2.25.3001.9", SeriesNumber=9)
    spot.SOPInstanceUID = "2.25.3100.9"
    modifier = Dataset()
    modifier.CodeValue, modifier.CodingSchemeDesignator = "399055006", "SCT"
    modifier.CodeMeaning = "Spot compression"
    spot.ViewCodeSequence[0].ViewModifierCodeSequence = [modifier]
    saved(spot, tmp_path / "in" / "spot.dcm")
    assert len(certainties(run(per_view(tmp_path), tmp_path))) == 7
    allowed = per_view(tmp_path, inputs=inputs(allow_view_modifiers=True))
    assert refused(allowed, tmp_path).code is RefusalCode.SEVERAL_IMAGES


def write_raw_images(folder: Path) -> None:
    for role in VIEWS:
        raw = mammogram(
            role,
            SOPClassUID=DigitalMammographyXRayImageStorageForProcessing,
            PresentationIntentType="FOR PROCESSING",
            SeriesInstanceUID=f"2.25.3002.{NUMBERS[role]}",
        )
        raw.SOPInstanceUID = f"2.25.3200.{NUMBERS[role]}"
        saved(raw, folder / f"raw-{role}.dcm")


def test_of_raw_and_processed_images_the_definition_names_the_ones_to_take(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    write_raw_images(tmp_path / "in")
    run(per_view(tmp_path), tmp_path)
    told = groups(dcmread(tmp_path / "out" / "sr.dcm"))
    assert images_of(told["cyst RCC"], "121112") == [uid("rcc")]
    raw = inputs(
        where=[
            {"tag": "Modality", "equals": "MG"},
            {"tag": "PresentationIntentType", "equals": "FOR PROCESSING"},
        ],
        allow_for_processing=True,
    )
    run(per_view(tmp_path, inputs=raw), tmp_path, "raw")
    told = groups(dcmread(tmp_path / "raw" / "sr.dcm"))
    assert images_of(told["cyst RCC"], "121112") == ["2.25.3200.1"]


def test_one_image_fills_one_input_only(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    (one,) = inputs("rcc").values()
    registered = per_view(tmp_path, inputs={"first": one, "second": one})
    found = refused(registered, tmp_path)
    assert found.code is RefusalCode.SEVERAL_IMAGES
    assert "first and second are one and the same image" in found.text
