"""Volumes that are judged window by window get one map of the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.class_cases import class_cases
from pipelines.class_run import judge_of
from pipelines.errors import InvalidBundle
from pipelines.explaining import explainer_of
from pipelines.explanation_schema import Explanation
from pipelines.gradcam import Explainer
from pipelines.model_loading import load_model
from pipelines.registry import RegisteredPipeline, register
from pipelines.series_volume import read_series
from storage.quantities import CERTAINTY
from tests.integration.pipelines.bright_volumes import (
    CPU,
    SPOT,
    assert_hottest_inside,
    map_of,
    run,
    scripted,
    volume_of_spots,
)
from tests.unit.pipelines.bright_spot import (
    BRIGHT,
    explained_classes,
    write_bright_spot,
)
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.volume_files import write_series

WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [7, 8, 5], "overlap": 0.5}


def windowed(
    tmp_path: Path, combined: str | None = "max", **explanation: Any
) -> RegisteredPipeline:
    if not (tmp_path / "tiny").exists():
        write_bright_spot(tmp_path / "tiny", inferer=WINDOWS)
    changes = explained_classes(0.1, 0.9, **explanation)
    return register(definition(**changes, windows=combined), tmp_path)


@pytest.mark.parametrize(
    ("combined", "method"), [("max", "gradcam"), ("mean", "gradcam"), ("max", "occlusion")]
)
def test_a_classifier_of_windows_gets_one_map_of_the_whole_volume(
    tmp_path: Path, combined: str, method: str
) -> None:
    volume = read_series(write_series(tmp_path / "in", volume_of_spots()))
    steps = {"steps": 4} if method == "occlusion" else {}
    heat = map_of(windowed(tmp_path, combined, method=method, **steps), volume)
    assert heat.shape == volume.voxels.shape
    assert_hottest_inside(heat, SPOT)
    if method == "gradcam":
        assert np.array_equal(heat > 0, volume.voxels > BRIGHT)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_maps_of_windows_lie_on_the_mirrored_side_of_a_mirror_image(
    tmp_path: Path, axis: int
) -> None:
    volume = read_series(write_series(tmp_path / "in", volume_of_spots()))
    mirrored = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))
    heat = map_of(windowed(tmp_path, method="gradcam"), mirrored)
    assert np.array_equal(heat > 0, mirrored.voxels > BRIGHT)


def test_the_image_has_the_greatest_or_the_mean_probability_of_its_windows(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "in", volume_of_spots())
    found = {}
    for combined in ("max", "mean"):
        result = run(windowed(tmp_path, combined, method="gradcam"), tmp_path, combined)
        found[combined] = next(m.value for m in result.measurements if m.quantity == CERTAINTY)
    assert found["max"] == pytest.approx(100, abs=1e-3)
    assert 30 < found["mean"] < 60


def test_windows_have_to_be_put_together_as_the_definition_says(tmp_path: Path) -> None:
    write_series(tmp_path / "in", volume_of_spots())
    with pytest.raises(InvalidBundle, match="windows: max"):
        run(windowed(tmp_path, None), tmp_path)
    write_bright_spot(tmp_path / "whole" / "tiny")
    whole = register(definition(**explained_classes(0.1, 0.9), windows="max"), tmp_path / "whole")
    with pytest.raises(InvalidBundle, match="leave out `windows`"):
        run(whole, tmp_path)


def test_an_image_smaller_than_a_window_is_padded_and_cut_again(tmp_path: Path) -> None:
    voxels = volume_of_spots()
    write_series(tmp_path / "in", voxels)
    network = {"patch_size": [32, 32, 32], "orientation": "LPS"}
    registered = scripted(tmp_path, 3, network, windows="max")
    volume = read_series(sorted((tmp_path / "in").iterdir()))
    heat = map_of(registered, volume)
    assert heat.shape == voxels.shape
    assert_hottest_inside(heat, SPOT)
    write_bright_spot(tmp_path / "pad" / "tiny", inferer={**WINDOWS, "roi_size": [20, 20, 20]})
    padded = register(definition(**explained_classes(0.1, 0.9), windows="max"), tmp_path / "pad")
    assert np.array_equal(map_of(padded, volume) > 0, voxels > BRIGHT)


def test_single_slices_are_windows_too(tmp_path: Path) -> None:
    inferer = {"_target_": "SliceInferer", "roi_size": [-1, -1], "spatial_dim": 2}
    steps = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
    ]
    write_bright_spot(tmp_path / "tiny", dimensions=2, inferer=inferer, preprocessing=steps)
    registered = register(definition(**explained_classes(0.1, 0.9), windows="max"), tmp_path)
    volume = read_series(write_series(tmp_path / "in", volume_of_spots()))
    heat = map_of(registered, volume)
    assert np.array_equal(heat > 0, volume.voxels > BRIGHT)
    bundle = load_model(registered, CPU)
    (case,) = class_cases(registered.definition, {"image": volume}, bundle, ("image",))
    explainer = explainer_of(case, judge_of(registered.definition, bundle), Explanation())
    assert isinstance(explainer, Explainer)
