"""Statistics of the training images, made from files and fit for a pipeline definition."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from pipelines.input_check import InputStatistics
from pipelines.input_features import FEATURES
from pipelines.training.datasets import Case
from pipelines.training.errors import TrainingError
from pipelines.training.input_statistics import as_yaml, input_statistics, passing


def case(folder: Path, stem: str, values: np.ndarray, sizes_mm: tuple[float, ...]) -> Case:
    path = folder / f"{stem}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.diag([*sizes_mm, 1.0])), path)
    return Case(stem, path, path)


def smooth(seed: int, scale: float = 1.0) -> np.ndarray:
    x, y, z = np.mgrid[:12, :14, :16]
    waves = np.sin(x / 3 + seed) + np.cos(y / 4) + np.sin(z / 5)
    noise = np.random.default_rng(seed).normal(0, 0.1, waves.shape)
    values: np.ndarray = scale * (500 + 100 * (waves + noise))
    return values


def test_the_ranges_enclose_every_case_in_every_cut(tmp_path: Path) -> None:
    cases = [case(tmp_path, f"c{seed}", smooth(seed), (1.0, 1.5, 2.0)) for seed in range(4)]
    statistics = input_statistics(cases)
    assert statistics.cases == 4
    assert tuple(statistics.features) == FEATURES
    assert statistics.features["shortest_edge_mm"] == (12.0, 12.0)
    assert statistics.features["longest_edge_mm"] == (32.0, 32.0)
    assert passing(statistics, cases) == [True] * 12


def test_what_is_unlike_them_does_not_pass(tmp_path: Path) -> None:
    cases = [case(tmp_path, f"c{seed}", smooth(seed), (1.0, 1.0, 1.0)) for seed in range(4)]
    brighter = case(tmp_path, "brighter", smooth(9, 40.0), (1.0, 1.0, 1.0))
    coarser = case(tmp_path, "coarser", smooth(9), (9.0, 9.0, 9.0))
    assert not any(passing(input_statistics(cases), [brighter, coarser]))


def test_the_lines_for_a_definition_say_the_same(tmp_path: Path) -> None:
    cases = [case(tmp_path, f"c{seed}", smooth(seed), (1.0, 1.0, 1.0)) for seed in range(3)]
    statistics = input_statistics(cases)
    read = yaml.safe_load(as_yaml(statistics))["input_statistics"]
    assert InputStatistics.model_validate(read) == statistics


def test_one_case_gives_no_range(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="two cases or more"):
        input_statistics([case(tmp_path, "only", smooth(1), (1.0, 1.0, 1.0))])
