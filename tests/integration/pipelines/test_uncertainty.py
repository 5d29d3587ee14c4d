"""How sure a model is, by flips and by dropout, told with its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import InvalidBundle
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.records import (
    MEAN_ENTROPY,
    VOLUME_HIGHEST,
    VOLUME_LOWEST,
    JobResult,
    MeasurementRecord,
    ObjectKind,
)
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.threshold_bundle import write_bundle
from tests.unit.pipelines.volume_files import write_series

WIDTHS = {"Low": 5, "High": 3}
ONE_COLUMN_ASIDE = (2, 1, 1)
FLIPS = {"method": "flips", "axes": ["left_right"]}
NETWORK: dict[str, Any] = {
    "labels": {0: "background", 1: "low", 2: "high"},
    "orientation": "LAS",
    "patch_size": [16, 16, 16],
    "intensity": [{"range": [0, 400], "to": [0, 400]}],
}


def levels() -> Any:
    """One block 5 and one 3 columns wide, away from each other and from the edges."""
    stored = np.full((8, 16, 20), 50, dtype=np.uint16)
    stored[1:5, 2:9, 3:8] = 150
    stored[5:7, 4:8, 12:15] = 250
    return stored


def lopsided(tmp_path: Path, **changes: Any) -> RegisteredPipeline:
    """A model whose labels lie one column beside what it sees: flipped, on the other side."""
    write_bundle(tmp_path / "two_levels", neighbour=ONE_COLUMN_ASIDE)
    return register(definition(**changes), tmp_path)


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    if not (tmp_path / "in").exists():
        write_series(tmp_path / "in", levels())
    return run_study(registered, tmp_path / "in", tmp_path / out, device="cpu")


def told(result: JobResult, structure: str) -> dict[str, MeasurementRecord]:
    return {m.quantity.value: m for m in result.measurements if m.structure == structure}


def test_voxels_on_which_flips_disagree_have_the_entropy_of_a_coin(tmp_path: Path) -> None:
    result = run(lopsided(tmp_path, uncertainty=FLIPS), tmp_path)
    for structure, width in WIDTHS.items():
        entropy = told(result, structure)[MEAN_ENTROPY.value]
        # The two answers lie two columns apart; where only one has the structure, it is 1 bit.
        assert entropy.value == pytest.approx(2 / width, abs=1e-6)
        assert entropy.unit.value == "1"


def test_along_an_axis_that_changes_nothing_the_model_is_sure(tmp_path: Path) -> None:
    how = {"method": "flips", "axes": ["front_back", "head_foot"]}
    result = run(lopsided(tmp_path, uncertainty=how), tmp_path)
    assert [told(result, s)[MEAN_ENTROPY.value].value for s in WIDTHS] == pytest.approx([0, 0])


def test_the_result_itself_is_that_of_the_plain_model(tmp_path: Path) -> None:
    plain = run(lopsided(tmp_path), tmp_path, "plain")
    other = register(definition(uncertainty=FLIPS), tmp_path)
    watched = run(other, tmp_path, "watched")
    volumes = [m.value for m in watched.measurements if not m.is_qualifying]
    assert volumes == [m.value for m in plain.measurements]
    assert "uncertainty" in watched.stage_times_s
    assert "uncertainty" not in plain.stage_times_s


def dropping(tmp_path: Path, probability: float, **how: Any) -> RegisteredPipeline:
    layer = torch.nn.Conv3d(1, 3, 1)
    with torch.no_grad():
        layer.weight[:, 0, 0, 0, 0] = torch.tensor([0.0, 1.0, 2.0])
        layer.bias[:] = torch.tensor([0.0, -99.5, -299.0])  # type: ignore[index]
    network = torch.nn.Sequential(torch.nn.Dropout(probability), layer).eval()
    script: Any = torch.jit.script(network)
    script.save(str(tmp_path / "two_levels.ts"))
    changes = {"network": NETWORK, "uncertainty": {"method": "dropout", **how}}
    return register(definition(**changes), tmp_path)


def test_dropout_gives_an_interval_that_holds_the_volume_and_the_same_again(tmp_path: Path) -> None:
    registered = dropping(tmp_path, 0.5, passes=4)
    first, again = (run(registered, tmp_path, out) for out in ("one", "two"))
    assert first.measurements == again.measurements
    low = told(first, "Low")
    assert low[MEAN_ENTROPY.value].value > 0.3
    volume = next(m.value for m in low.values() if not m.is_qualifying)
    assert low[VOLUME_LOWEST.value].value <= volume < low[VOLUME_HIGHEST.value].value
    assert volume == pytest.approx(0.140)


def test_dropout_leaves_no_trace_in_torchs_own_random_numbers(tmp_path: Path) -> None:
    registered = dropping(tmp_path, 0.5, passes=2)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run(registered, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_network_without_dropout_is_told_to_use_flips(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundle, match="no dropout"):
        run(dropping(tmp_path, 0.0), tmp_path)


def test_above_a_limit_the_result_is_marked_for_review(tmp_path: Path) -> None:
    how = {**FLIPS, "review_above": {"entropy": 0.5}}
    result = run(lopsided(tmp_path, uncertainty=how), tmp_path)
    assert result.review == "High: mean entropy 0.667 above 0.5"  # Low has 0.4
    report = dcmread(
        tmp_path / "out" / next(made.path for made in result.objects if made.kind is ObjectKind.SR)
    )
    assert codes(report)["REVIEW"] == "373066001"
    remark = next(
        i.TextValue for i in items(report) if i.ValueType == "TEXT" and "Alg" in i.TextValue
    )
    assert "Marked for review: High: mean entropy 0.667" in remark


def test_below_the_limit_nothing_is_marked(tmp_path: Path) -> None:
    how = {**FLIPS, "review_above": {"entropy": 0.7, "volume_spread": 0.1}}
    result = run(lopsided(tmp_path, uncertainty=how), tmp_path)
    assert result.review == ""
    report = dcmread(tmp_path / "out" / "sr.dcm")
    assert "REVIEW" not in codes(report)


def test_the_report_holds_entropy_and_interval_of_every_structure(tmp_path: Path) -> None:
    result = run(lopsided(tmp_path, uncertainty=FLIPS), tmp_path)
    report = dcmread(tmp_path / "out" / "sr.dcm")
    told_in_report = [
        (i.ConceptNameCodeSequence[0].CodeValue, float(i.MeasuredValueSequence[0].NumericValue))
        for i in items(report)
        if i.ValueType == "NUM"
    ]
    expected: list[Any] = [(m.quantity.value, pytest.approx(m.value)) for m in result.measurements]
    assert told_in_report == expected
    assert len(told_in_report) == 8


def items(node: Dataset) -> Any:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def codes(report: Dataset) -> dict[str, str]:
    return {
        item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0].CodeValue
        for item in items(report)
        if item.ValueType == "CODE"
    }
