import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.training.__main__ import main
from pipelines.training.errors import TrainingError
from pipelines.training.evaluate import CaseScore, dice, summarise
from pipelines.training.model_card import fill_markers

Capture = pytest.CaptureFixture[str]


def test_dice_counts_the_overlap_of_one_label() -> None:
    first = np.array([1, 1, 2, 0], np.uint8)
    second = np.array([1, 2, 2, 0], np.uint8)
    assert dice(first, second, 1) == pytest.approx(2 / 3)
    assert dice(first, second, 3) == 1.0
    assert dice(first, np.zeros(4, np.uint8), 1) == 0.0


def test_a_summary_holds_mean_spread_minimum_and_median() -> None:
    scores = [CaseScore("a", {1: 0.8}), CaseScore("b", {1: 0.9}), CaseScore("c", {1: 1.0})]
    summary = summarise(scores, {1: "Part"})
    assert summary == {"Part": {"mean": 0.9, "std": 0.0816, "min": 0.8, "median": 0.9}}


def test_only_what_lies_between_the_markers_is_replaced() -> None:
    text = "before\n<!-- begin a -->old<!-- end a -->\nafter \\1"
    filled = fill_markers(text, {"a": r"new \1"})
    assert filled == "before\n<!-- begin a -->\n\nnew \\1\n\n<!-- end a -->\nafter \\1"
    assert fill_markers(filled, {"a": r"new \1"}) == filled


@pytest.mark.parametrize("text", ["no marker", "<!-- begin a --> <!-- end a -->" * 2])
def test_a_card_without_its_one_pair_of_markers_is_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="exactly one pair of markers"):
        fill_markers(text, {"a": "new"})


def test_the_command_refuses_a_wrong_folder_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    assert main(["evaluate", "--data", str(tmp_path), "--bundle", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert "--data must name" in told


def test_a_bundle_without_a_configuration_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "--data", str(tmp_path), "--bundle", str(tmp_path)]) == 1
    assert "--bundle must name a MONAI bundle's folder" in capsys.readouterr().err


def test_cases_that_were_trained_on_are_not_measured(
    tmp_path: Path, capsys: Capture, write_pair: Callable[..., None]
) -> None:
    stems = ["a", "b", "c", "d", "e"]
    for stem in stems:
        write_pair(tmp_path, stem)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "training.json").write_text(json.dumps({"training_cases": stems}))
    assert main(["evaluate", "--data", str(tmp_path), "--bundle", str(tmp_path)]) == 1
    assert "were trained on" in capsys.readouterr().err
