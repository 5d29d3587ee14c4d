"""How sure a classifier is, by flips and by dropout, told with its result."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pypdf import PdfReader

from pipelines.errors import InvalidBundle
from pipelines.objects.encapsulated_pdf import pdf_of
from pipelines.pages import Wanted
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.quantities import (
    CERTAINTY,
    CERTAINTY_HIGHEST,
    CERTAINTY_LOWEST,
    CERTAINTY_MEAN,
    MUTUAL_INFORMATION,
    PREDICTIVE_ENTROPY,
)
from storage.records import JobResult, ObjectKind
from tests.peers.dicom_checkers import dciodvfy
from tests.unit.pipelines.classifier_bundle import classes, write_classifier
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.projections import flat_classes, saved, x_ray
from tests.unit.pipelines.sided_classifier import certainty_of, halves, write_sided
from tests.unit.pipelines.volume_files import write_series

LEFT, RIGHT = 200, 40
ACROSS: dict[str, Any] = {"method": "flips", "axes": ["across"], "side_matters": False}


def offered(tmp_path: Path, how: dict[str, Any], dropout: float = 0.0) -> RegisteredPipeline:
    if not (tmp_path / "tiny").exists():
        write_sided(tmp_path / "tiny", dropout)
    return register(definition(**flat_classes(0.5, 0.99), uncertainty=how), tmp_path)


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out", **of: Any) -> JobResult:
    if not (tmp_path / "in").exists():
        saved(x_ray(halves(LEFT, RIGHT), **of), tmp_path / "in" / "1.dcm")
    return run_study(registered, tmp_path / "in", tmp_path / out, device="cpu")


def told(result: JobResult, structure: str = "Cyst") -> dict[str, float]:
    return {m.quantity.value: m.value for m in result.measurements if m.structure == structure}


def entropy(share: float) -> float:
    return float(-share * np.log2(share) - (1 - share) * np.log2(1 - share))


def test_passes_that_disagree_are_told_by_mean_interval_and_entropies(tmp_path: Path) -> None:
    found = told(run(offered(tmp_path, ACROSS), tmp_path))
    own, other = certainty_of(LEFT), certainty_of(RIGHT)
    mean = (own + other) / 2
    assert found[CERTAINTY.value] == pytest.approx(100 * own)
    assert found[CERTAINTY_MEAN.value] == pytest.approx(100 * mean)
    assert found[CERTAINTY_LOWEST.value] == pytest.approx(100 * other)
    assert found[CERTAINTY_HIGHEST.value] == pytest.approx(100 * own)
    assert found[PREDICTIVE_ENTROPY.value] == pytest.approx(entropy(mean))
    expected = entropy(mean) - (entropy(own) + entropy(other)) / 2
    assert found[MUTUAL_INFORMATION.value] == pytest.approx(expected)


@pytest.mark.parametrize("stated", [["L", "F"], ["R", "F"], ["F", "L"]], ids="/".join)
def test_a_flip_is_of_the_upright_picture_however_it_is_stored(
    tmp_path: Path, stated: list[str]
) -> None:
    pixels = halves(LEFT, RIGHT)
    stored = {"R": pixels[:, ::-1], "F": pixels.T}.get(stated[0], pixels)
    saved(x_ray(np.ascontiguousarray(stored), PatientOrientation=stated), tmp_path / "in" / "1.dcm")
    down = {"method": "flips", "axes": ["down"]}
    sure = told(run(offered(tmp_path, down), tmp_path))
    assert sure[CERTAINTY_HIGHEST.value] == pytest.approx(sure[CERTAINTY_LOWEST.value])
    unsure = told(run(offered(tmp_path, ACROSS), tmp_path, "across"))
    assert unsure[CERTAINTY_LOWEST.value] == pytest.approx(100 * certainty_of(RIGHT))


def test_a_volume_is_flipped_along_the_axes_of_the_patient(tmp_path: Path) -> None:
    write_classifier(tmp_path / "tiny")
    voxels = np.random.default_rng(3).integers(0, 400, (12, 24, 20)).astype(np.uint16)
    write_series(tmp_path / "in", voxels)
    how = {"method": "flips", "axes": ["front_back", "head_foot"]}
    wanted = definition(**classes(0.1, 0.9), uncertainty=how)
    found = told(run(register(wanted, tmp_path), tmp_path))
    # The same image, mirrored by hand, is what the passes saw.
    certain = [found[CERTAINTY.value]]
    plain = register(definition(**classes(0.1, 0.9)), tmp_path)
    for number, axes in enumerate(((0,), (1,), (0, 1))):
        write_series(tmp_path / f"in{number}", np.flip(voxels, axes))
        result = run_study(plain, tmp_path / f"in{number}", tmp_path / f"o{number}", device="cpu")
        certain.append(told(result)[CERTAINTY.value])
    assert found[CERTAINTY_MEAN.value] == pytest.approx(np.mean(certain), rel=1e-4)
    assert found[CERTAINTY_LOWEST.value] == pytest.approx(min(certain), rel=1e-4)


def test_dropout_is_drawn_the_same_for_the_same_job(tmp_path: Path) -> None:
    registered = offered(tmp_path, {"method": "dropout", "passes": 5}, dropout=0.5)
    one, other = (run(registered, tmp_path, out) for out in ("one", "two"))
    assert one.measurements == other.measurements
    found = told(one)
    low, high = found[CERTAINTY_LOWEST.value], found[CERTAINTY_HIGHEST.value]
    assert low < high
    assert low <= found[CERTAINTY.value] <= high
    assert found[CERTAINTY.value] == pytest.approx(100 * certainty_of(LEFT))
    assert 0 < found[MUTUAL_INFORMATION.value] < found[PREDICTIVE_ENTROPY.value] <= 1


def test_a_classifier_without_dropout_is_told_to_use_flips(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundle, match="no dropout"):
        run(offered(tmp_path, {"method": "dropout"}), tmp_path)


def items(node: Dataset) -> Any:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"entropy": 0.9}, "Cyst: predictive entropy 0.967 above 0.9"),
        ({"mutual_information": 0.08}, "Cyst: mutual information 0.101 above 0.08"),
        (
            {"certainty_spread": 0.3},
            "Cyst: certainty 42.7 to 78.7 %, spread 0.360 above 0.3",
        ),
        (
            {"certainty_spread": 0.5},
            "Cyst: certainty 42.7 to 78.7 %, on both sides of its operating point of 50 %",
        ),
        ({"entropy": 1.0, "mutual_information": 0.2}, ""),
        ({}, ""),
    ],
    ids=["entropy", "information", "spread", "both sides", "below", "none"],
)
def test_a_class_above_a_limit_marks_the_result(
    tmp_path: Path, limits: dict[str, float], reason: str
) -> None:
    result = run(offered(tmp_path, {**ACROSS, "review_above": limits}), tmp_path)
    assert [one for one in result.review.split("; ") if "Mass" not in one] == [reason]
    report = dcmread(tmp_path / "out" / "sr.dcm")
    codes = [item.ConceptNameCodeSequence[0].CodeValue for item in items(report)]
    assert ("REVIEW" in codes) == bool(result.review)


def test_the_report_holds_what_the_passes_say(tmp_path: Path) -> None:
    result = run(offered(tmp_path, ACROSS), tmp_path)
    report = dcmread(tmp_path / "out" / "sr.dcm")
    numbers = [
        (
            item.ConceptNameCodeSequence[0].CodeValue,
            float(item.MeasuredValueSequence[0].NumericValue),
        )
        for item in items(report)
        if item.ValueType == "NUM"
    ]
    expected: list[Any] = [(m.quantity.value, pytest.approx(m.value)) for m in result.measurements]
    assert numbers == expected


def test_the_page_says_what_to_look_at_and_how_certain_absence_is(tmp_path: Path) -> None:
    saved(x_ray(halves(LEFT, RIGHT)), tmp_path / "in" / "1.dcm")
    registered = offered(tmp_path, {**ACROSS, "review_above": {"entropy": 0.9}})
    wanted = Wanted(frozenset({ObjectKind.PDF}))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    document = dcmread(tmp_path / "out" / result.objects[-1].path)
    pages = PdfReader(BytesIO(pdf_of(document))).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    assert "Marked for review: Cyst: predictive entropy 0.967 above 0.9" in text
    assert f"{told(result, 'Mass')[CERTAINTY.value]:.2f} %" in text


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_has_nothing_to_say_about_an_uncertain_class(tmp_path: Path) -> None:
    run(offered(tmp_path, {**ACROSS, "review_above": {"entropy": 0.5}}), tmp_path)
    told_of = dciodvfy(tmp_path / "out" / "sr.dcm")
    assert [one for one in told_of if "<99RADNODE>" not in one] == []
