"""Definition files: the shipped one is right, and wrong ones say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydicom.sr import _concepts_dict

from pipelines.definition import load_definition
from pipelines.definition_schema import Code, PipelineDefinition
from pipelines.errors import InvalidDefinition
from pipelines.registry import SHIPPED_DEFINITIONS
from tests.unit.pipelines.classifier_bundle import classes
from tests.unit.pipelines.definitions import definition, segment, values, write_definition
from tests.unit.pipelines.projections import flat_classes

SHIPPED = sorted(SHIPPED_DEFINITIONS.glob("*.yaml"))


def problems(path: Path) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        load_definition(path)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_definition_is_valid(path: Path) -> None:
    assert load_definition(path).name == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_code_stands_in_the_dictionaries_of_the_standard(path: Path) -> None:
    dictionaries: dict[str, Any] = _concepts_dict.concepts
    found = list(_codes(load_definition(path)))
    assert found
    for code in found:
        meanings = [
            known[code.value][0]
            for known in dictionaries.get(code.scheme, {}).values()
            if code.value in known
        ]
        assert code.meaning in meanings, f"{code.scheme} {code.value} {code.meaning}"


def _codes(definition: PipelineDefinition) -> list[Code]:
    found = [definition.procedure_reported]
    for item in definition.segments:
        given = (item.category, item.type, item.type_modifier, item.anatomic_region)
        found.extend(code for code in given if code)
    return found


def test_the_shipped_definition_explains_every_key(tmp_path: Path) -> None:
    text = (SHIPPED_DEFINITIONS / "hippocampus_mr.yaml").read_text(encoding="utf-8")
    for key in PipelineDefinition.model_fields:
        assert f"\n{key}:" in text, key


def test_the_report_gets_the_series_number_after_the_segmentation(tmp_path: Path) -> None:
    loaded = load_definition(write_definition(tmp_path, series_number=9100))
    assert (loaded.series_number, loaded.report_series_number) == (9100, 9101)


@pytest.mark.parametrize(
    ("changes", "key", "value", "told"),
    [
        ({"series_numer": 3}, "series_numer", "3", "no such key"),
        ({"priority": -1}, "priority", "-1", "greater than or equal to 0"),
        ({"series_number": "x"}, "series_number", "'x'", "valid integer"),
        ({"title": "a\\b"}, "title", r"'a\\b'", "pattern"),
        ({"inputs": {}}, "inputs", "(several keys)", "at least 1 item"),
        ({"bundle": "../elsewhere"}, "bundle", "'../elsewhere'", "pattern"),
    ],
)
def test_a_wrong_key_is_told_with_file_line_key_and_value(
    tmp_path: Path, changes: dict[str, Any], key: str, value: str, told: str
) -> None:
    path = write_definition(tmp_path, **changes)
    line = next(
        number
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if text.startswith(f"{key}:")
    )
    assert f"{path}:{line}: {key} = {value}: " in problems(path)
    assert told in problems(path)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    content = values()
    path = write_definition(tmp_path, inputs={"image": {"slices": {"min": 3}}})
    assert "inputs.image.where = (missing)" in problems(path)
    assert "where" in content["inputs"]["image"]


def test_a_wrong_criterion_is_told_by_its_place(tmp_path: Path) -> None:
    where = [{"tag": "Modality", "equals": "MR"}, {"tag": "Nonsense", "equals": 1}]
    told = problems(write_definition(tmp_path, inputs={"image": {"where": where}}))
    assert "inputs.image.where[1].tag = 'Nonsense': write a DICOM keyword" in told


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    told = problems(write_definition(tmp_path, priority=-1, series_number=0))
    assert "priority" in told
    assert "series_number" in told


def test_two_segments_cannot_share_a_label_value(tmp_path: Path) -> None:
    twins = [
        segment(1, "Low", values()["segments"][0]["type"], [1, 2, 3]),
        segment(1, "High", values()["segments"][0]["type"], [3, 2, 1]),
    ]
    assert "label_value 1 is given twice" in problems(write_definition(tmp_path, segments=twins))


def test_limits_that_exclude_each_other_are_told(tmp_path: Path) -> None:
    image = {**values()["inputs"]["image"], "slices": {"min": 9, "max": 4}}
    assert "max is less than min" in problems(write_definition(tmp_path, inputs={"image": image}))


def test_a_file_under_another_name_is_told(tmp_path: Path) -> None:
    path = write_definition(tmp_path).rename(tmp_path / "other.yaml")
    assert "name = two_levels: name and file must agree" in problems(path)


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "a: [", "name: a\nname: b\n"])
def test_a_file_that_is_no_mapping_is_told_by_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content, encoding="utf-8")
    assert str(path) in problems(path)


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    assert str(tmp_path / "none.yaml") in problems(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"segments": []}, "either segments or classes"),
        (classes(0.5, 0.5) | {"segments": values()["segments"]}, "either segments or classes"),
        (classes(0.5, 0.5, output=1), "output 1 is given twice"),
        (classes(0.5, 1.0), "less than 1"),
        (classes(0.5, 0.5, calibration={"a": 0}), "greater than 0"),
    ],
    ids=["neither", "both", "twice", "operating point", "calibration"],
)
def test_classes_that_cannot_be_meant_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        definition(**changes)


FLIPS: dict[str, Any] = {"method": "flips"}
OVER_THE_SIDE = {**FLIPS, "axes": ["left_right"], "side_matters": False}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (classes(0.5, 0.5) | {"uncertainty": {**FLIPS, "axes": ["left_right"]}}, "side_matters"),
        (
            classes(0.5, 0.5) | {"uncertainty": {**OVER_THE_SIDE, "side_matters": True}},
            "cannot be flipped left_right",
        ),
        (
            classes(0.5, 0.5, type={"value": "1", "scheme": "99X", "meaning": "Cyst of left lung"})
            | {"uncertainty": OVER_THE_SIDE},
            "cannot be flipped left_right",
        ),
        (
            flat_classes(0.5, 0.5) | {"uncertainty": {**FLIPS, "axes": ["head_foot"]}},
            "here they are across, down",
        ),
        (
            classes(0.5, 0.5) | {"uncertainty": {**FLIPS, "axes": ["down"]}},
            "here they are left_right",
        ),
        (
            classes(0.5, 0.5)
            | {"uncertainty": {"method": "dropout", "review_above": {"volume_spread": 0.1}}},
            "volume_spread: not for classes",
        ),
        (
            {"uncertainty": {"method": "dropout", "review_above": {"mutual_information": 0.1}}},
            "mutual_information: not for segments",
        ),
    ],
    ids=["unsaid", "said", "named", "patient", "picture", "volume", "information"],
)
def test_passes_and_limits_that_do_not_fit_the_model_are_told(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        definition(**changes)
