"""Classifiers of several projections: the four views of a mammography, one by one and stacked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DigitalMammographyXRayImageStorageForProcessing

import pipelines.results
from pipelines.bundle_metadata import read_metadata
from pipelines.definition_proposal import proposed_definition
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle, ProofFailed, RefusalCode, Refused
from pipelines.model_check import checked_model
from pipelines.objects.write import write_object
from pipelines.pages import NOTHING_MORE, Wanted
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.quantities import CERTAINTY, CERTAINTY_HIGHEST
from storage.records import JobResult, ObjectKind, Outcome
from tests.peers.dicom_checkers import dciodvfy, tid1500reader
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import (
    GRID,
    NUMBERS,
    VIEWS,
    breast,
    classes,
    inputs,
    mammogram,
    write_four_views,
    write_mammography,
    write_one_view,
)
from tests.unit.pipelines.projections import saved

SPOT = (slice(4, 10), slice(20, 25))
PAGES = Wanted(frozenset({ObjectKind.PDF, ObjectKind.SC}))
ORDER = ("lmlo", "rcc", "rmlo", "lcc")
WEIGHTS = (0.05, 0.2, 0.1, 0.4)


def per_view(tmp_path: Path, *points: float, **changes: Any) -> RegisteredPipeline:
    if not (tmp_path / "tiny").exists():
        write_one_view(tmp_path / "tiny")
    told = {**classes(*(points or (0.6, 0.99))), "inputs": inputs(), **changes}
    return register(definition(several_projections="per_view", **told), tmp_path)


def stacked(tmp_path: Path, *roles: str, **changes: Any) -> RegisteredPipeline:
    if not (tmp_path / "tiny").exists():
        write_four_views(tmp_path / "tiny", ORDER, WEIGHTS)
    told = {**classes(0.6, 0.99), "inputs": inputs(*roles), **changes}
    return register(definition(several_projections="stacked", **told), tmp_path)


def run(
    registered: RegisteredPipeline, tmp_path: Path, out: str = "out", wanted: Wanted = NOTHING_MORE
) -> JobResult:
    at = datetime(2024, 1, 15, tzinfo=UTC)
    return run_study(
        registered, tmp_path / "in", tmp_path / out, device="cpu", wanted=wanted, content_time=at
    )


def certainties(result: JobResult, label: str = "Cyst") -> dict[str, float]:
    return {
        m.structure.removeprefix(label).strip(" ()"): m.value
        for m in result.measurements
        if m.quantity == CERTAINTY and m.structure.startswith(label)
    }


def items(node: Dataset) -> Any:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def groups(report: Dataset) -> dict[str, Dataset]:
    """Measurement groups by their Tracking Identifier."""
    return {
        next(
            str(i.TextValue)
            for i in item.ContentSequence
            if i.ConceptNameCodeSequence[0].CodeValue == "112039"
        ): item
        for item in items(report)
        if item.ConceptNameCodeSequence[0].CodeValue == "125007"
    }


def images_of(group: Dataset, name: str) -> list[str]:
    return [
        str(i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for i in group.ContentSequence
        if i.ConceptNameCodeSequence[0].CodeValue == name
    ]


def uid(role: str) -> str:
    return f"2.25.3100.{NUMBERS[role]}"


def heats(result: JobResult, folder: Path) -> dict[str, Dataset]:
    """Heat maps by the role of the image that they name."""
    by_uid = {uid(role): role for role in VIEWS}
    made = [one for one in result.objects if one.kind is ObjectKind.HEAT]
    read = [dcmread(folder / one.path) for one in made]
    found: dict[str, Dataset] = {}
    found |= {by_uid[p.SourceImageSequence[0].ReferencedSOPInstanceUID]: p for p in read}
    assert len(found) == len(read)
    return found


def hot(picture: Dataset) -> NDArray[np.bool_]:
    rgb = picture.pixel_array.astype(int)
    found: NDArray[np.bool_] = (rgb.max(axis=-1) - rgb.min(axis=-1)) > 0
    return found


def centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.argwhere(mask).mean(axis=0)
    return found


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


def refused(registered: RegisteredPipeline, tmp_path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        run(registered, tmp_path)
    return caught.value


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


def test_stacked_views_stand_in_the_order_of_the_models_channels(tmp_path: Path) -> None:
    """Each view has another weight, so that an exchange of two would show."""
    for number, role in enumerate(VIEWS):
        write_mammography(tmp_path / role / "in", {role: (slice(0, 20), slice(0, 15))})
        registered = stacked(tmp_path, *sorted(VIEWS, key=lambda r: (r != role, r)))
        found = certainties(run(registered, tmp_path / role))
        share = _share_of_bright(role)
        logit = WEIGHTS[ORDER.index(role)] * share * (1500 - 300)
        expected = 100 * np.exp(logit) / (np.exp(logit) + 2)
        assert list(found) == [""]
        assert found[""] == pytest.approx(expected, rel=1e-4), (number, role)


def _share_of_bright(role: str) -> float:
    pixels = breast(role, (slice(0, 20), slice(0, 15))) > 200
    rows = np.floor(np.arange(GRID[1]) * pixels.shape[0] / GRID[1]).astype(int)
    columns = np.floor(np.arange(GRID[0]) * pixels.shape[1] / GRID[0]).astype(int)
    return float(pixels[np.ix_(rows, columns)].mean())


def test_each_stacked_view_gets_a_heat_map_of_what_it_alone_says(tmp_path: Path) -> None:
    spots = {"rcc": SPOT, "lmlo": (slice(25, 32), slice(2, 8))}
    write_mammography(tmp_path / "in", spots)
    result = run(stacked(tmp_path, explanation={}), tmp_path)
    found = heats(result, tmp_path / "out")
    assert set(found) == set(VIEWS)
    for role, spot in spots.items():
        assert np.abs(centre(hot(found[role])) - centre(breast(role, spot) > 200)).max() < 3
    assert not hot(found["rmlo"]).any()
    told = groups(dcmread(tmp_path / "out" / "sr.dcm"))
    assert images_of(told["cyst"], "121112") == [uid(role) for role in ORDER]
    assert len(images_of(told["cyst"], "130401")) == 4


def test_a_missing_view_of_a_stack_is_refused(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    (tmp_path / "in" / "rcc.dcm").unlink()
    assert refused(stacked(tmp_path), tmp_path).code is RefusalCode.MISSING_VIEW


def test_pictures_of_different_size_cannot_be_stacked_without_a_resize(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    bundle = write_four_views(tmp_path / "tiny", ORDER, WEIGHTS)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["preprocessing"]["transforms"][2]
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InvalidBundle, match=r"cannot be stacked \(lmlo 30 x 38, rcc 30 x 40"):
        run(stacked(tmp_path), tmp_path)


def test_a_bundle_that_loads_a_key_for_each_view_puts_them_together_itself(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rcc": SPOT})
    plain = certainties(run(stacked(tmp_path), tmp_path))
    bundle = write_four_views(tmp_path / "keys" / "tiny", ORDER, WEIGHTS)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for step in config["preprocessing"]["transforms"]:
        step["keys"] = list(reversed(ORDER))  # a key gets the view of its name all the same
    concat = {"_target_": "ConcatItemsd", "keys": list(ORDER), "name": "image", "dim": 0}
    config["preprocessing"]["transforms"].append(concat)
    path.write_text(json.dumps(config), encoding="utf-8")
    meta = bundle / "configs" / "metadata.json"
    told = json.loads(meta.read_text(encoding="utf-8"))
    told["network_data_format"]["inputs"] = {role: {"num_channels": 1} for role in ORDER}
    meta.write_text(json.dumps(told), encoding="utf-8")
    registered = stacked(tmp_path / "keys", explanation={})
    result = run(registered, tmp_path, "keys_out")
    assert certainties(result) == plain
    found = heats(result, tmp_path / "keys_out")
    assert np.abs(centre(hot(found["rcc"])) - centre(breast("rcc", SPOT) > 200)).max() < 3


def test_flips_tell_how_sure_each_view_and_each_breast_is(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    how = {"method": "flips", "axes": ["down"]}
    result = run(per_view(tmp_path, uncertainty=how), tmp_path)
    highest = [m.value for m in result.measurements if m.quantity == CERTAINTY_HIGHEST]
    assert len(highest) == 14
    assert highest[:7] == pytest.approx(list(certainties(result).values()))


def test_a_report_that_names_another_view_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchanged(dataset: Dataset, path: Path) -> tuple[int, str]:
        for item in items(dataset):
            if item.ConceptNameCodeSequence[0].CodeValue == "121112":
                item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = uid("lcc")
        return write_object(dataset, path)

    write_mammography(tmp_path / "in")
    monkeypatch.setattr(pipelines.results, "write_object", exchanged)
    with pytest.raises(ProofFailed, match="other images for a class"):
        run(per_view(tmp_path), tmp_path)


def test_the_same_job_writes_the_same_bytes(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    registered = per_view(tmp_path, explanation={})
    one, other = (run(registered, tmp_path, out, PAGES) for out in ("one", "two"))
    assert [made.sha256 for made in one.objects] == [made.sha256 for made in other.objects]


def test_a_check_runs_all_views_and_tells_of_the_map(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    checked = checked_model(per_view(tmp_path), tmp_path / "in", "cpu")
    assert (checked.failure, checked.network_shape) == ("", (1, *GRID))
    checked = checked_model(stacked(tmp_path / "all"), tmp_path / "in", "cpu")
    assert (checked.failure, checked.network_shape) == ("", (4, *GRID))
    assert "Occlusion sensitivity" in checked.explanation


def test_a_proposal_for_four_views_tells_them_apart_and_runs(tmp_path: Path) -> None:
    bundle = write_four_views(tmp_path / "tiny", ORDER, WEIGHTS)
    told = read_metadata(bundle / "configs" / "metadata.json")
    values = proposed_definition("mine", "tiny", told)
    assert {role: one["laterality"] for role, one in values["inputs"].items()} == {
        role: VIEWS[role][0] for role in ORDER
    }
    write_mammography(tmp_path / "in", {"rcc": SPOT})
    proposal = PipelineDefinition.model_validate(values)
    result = run(register(proposal, tmp_path), tmp_path)
    assert len([m for m in result.measurements if m.quantity == CERTAINTY]) == 3


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_has_nothing_to_say_about_report_pictures_and_pages(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    result = run(per_view(tmp_path, explanation={}), tmp_path, wanted=PAGES)
    assert {made.kind for made in result.objects} == {
        ObjectKind.SR,
        ObjectKind.PDF,
        ObjectKind.SC,
        ObjectKind.HEAT,
    }
    for made in result.objects:
        told = dciodvfy(tmp_path / "out" / made.path)
        assert [one for one in told if "<99RADNODE>" not in one] == [], made.path.name


@pytest.mark.peer("dcmqi")
def test_another_program_reads_every_group_with_its_side(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    run(per_view(tmp_path), tmp_path)
    read = tid1500reader(tmp_path / "out" / "sr.dcm", tmp_path)["Measurements"]
    sides = {
        one["TrackingIdentifier"]: one.get("Laterality", {}).get("CodeMeaning") for one in read
    }
    assert len(sides) == 14
    assert (sides["cyst"], sides["cyst right"], sides["mass LMLO"]) == (None, "Right", "Left")
