"""Heat maps of networks that show nothing of themselves: TorchScript, and windows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.explaining
import pipelines.occlusion
from pipelines.class_cases import class_cases
from pipelines.class_run import judge_of
from pipelines.errors import InvalidBundle
from pipelines.explaining import explainer_of, placed_map
from pipelines.explanation_schema import Explanation
from pipelines.gradcam import Explainer
from pipelines.model_check import checked_model
from pipelines.model_loading import load_model
from pipelines.occlusion import Occluder, box_count, box_edges
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from pipelines.series_volume import SeriesVolume, read_series
from storage.quantities import CERTAINTY
from storage.records import JobResult
from tests.unit.pipelines.bright_spot import (
    BRIGHT,
    bright_spot_state,
    explained_classes,
    write_bright_spot,
)
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.projections import DX, saved, x_ray
from tests.unit.pipelines.volume_files import write_series

CPU = torch.device("cpu")
SPOT = (slice(1, 3), slice(3, 6), slice(10, 13))
"""The brightest block of `volume_of_spots`, far from the middle on every axis."""
PICTURE_SPOT = (slice(4, 9), slice(19, 24))
LABELS = {0: "nothing", 1: "cyst", 2: "mass"}


def volume_of_spots() -> NDArray[np.uint16]:
    voxels = np.random.default_rng(2).integers(0, 200, (10, 16, 14)).astype(np.uint16)
    voxels[SPOT] = 900
    voxels[7, 12, 2] = 500
    return voxels


def picture_of_a_spot() -> NDArray[np.uint16]:
    pixels = np.random.default_rng(3).integers(0, 200, (30, 26)).astype(np.uint16)
    pixels[PICTURE_SPOT] = 1000
    return pixels


def write_script(folder: Path, dimensions: int) -> None:
    """The bright spot's network as a TorchScript file, of whose inside nothing can be seen."""
    conv, pool = getattr(torch.nn, f"Conv{dimensions}d"), f"AdaptiveAvgPool{dimensions}d"
    network = torch.nn.Sequential(
        conv(1, 1, 1),
        torch.nn.ReLU(),
        getattr(torch.nn, pool)(1),
        torch.nn.Flatten(),
        torch.nn.Linear(1, 3),
    )
    network.load_state_dict(bright_spot_state(dimensions))
    script: Any = torch.jit.script(network.eval())
    folder.mkdir(parents=True, exist_ok=True)
    script.save(str(folder / "spot.ts"))


def scripted(
    tmp_path: Path, dimensions: int, network: dict[str, Any] | None = None, **changes: Any
) -> RegisteredPipeline:
    write_script(tmp_path, dimensions)
    told = {**explained_classes(0.1, 0.9), "bundle": "spot.ts", **changes}
    told["network"] = {"labels": LABELS, **(network or {})}
    if dimensions == 2:
        told["inputs"] = {"image": DX}
    return register(definition(**{**told, "explanation": changes.get("explanation", {})}), tmp_path)


def map_of(registered: RegisteredPipeline, volume: SeriesVolume) -> NDArray[np.float32]:
    bundle = load_model(registered, CPU)
    definition = registered.definition
    (case,) = class_cases(definition, {"image": volume}, bundle, registered.channel_roles)
    how = definition.explanation or Explanation()
    explainer = explainer_of(case, judge_of(definition, bundle), how)
    return placed_map(explainer, 1, case.pictures[0], bundle)


def assert_hottest_inside(heat: NDArray[Any], place: Sequence[slice]) -> None:
    """The hottest voxels lie on the planted evidence, and their centre in it."""
    hottest = np.argwhere(heat >= 0.999 * heat.max())
    centre = hottest.mean(axis=0)
    middle = np.asarray([(one.start + one.stop - 1) / 2 for one in place])
    extent = np.asarray([one.stop - one.start for one in place])
    assert np.all(np.abs(centre - middle) <= extent), (centre, middle)
    assert heat[tuple(place)].mean() > 4 * heat.mean()


ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "mirrored": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "transposed": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
def test_what_is_bright_in_a_volume_is_hottest_for_torchscript(
    tmp_path: Path, orientation: Sequence[float]
) -> None:
    volume = read_series(write_series(tmp_path / "in", volume_of_spots(), orientation=orientation))
    heat = map_of(scripted(tmp_path, 3), volume)
    assert_hottest_inside(heat, SPOT)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_volume_has_the_spot_on_the_other_side(tmp_path: Path, axis: int) -> None:
    volume = read_series(write_series(tmp_path / "in", volume_of_spots()))
    mirrored = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))
    heat = map_of(scripted(tmp_path, 3), mirrored)
    assert_hottest_inside(np.flip(heat, axis), SPOT)
    with pytest.raises(AssertionError):
        assert_hottest_inside(heat, SPOT)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1)], ids=str)
def test_a_flip_that_is_planted_in_the_map_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes: tuple[int, ...]
) -> None:
    volume = read_series(write_series(tmp_path / "in", volume_of_spots()))
    was = Occluder.network_map
    monkeypatch.setattr(
        pipelines.occlusion.Occluder,
        "network_map",
        lambda self, output, channels: torch.flip(was(self, output, channels), axes),
    )
    with pytest.raises(AssertionError):
        assert_hottest_inside(map_of(scripted(tmp_path, 3), volume), SPOT)


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    return run_study(registered, tmp_path / "in", tmp_path / out, device="cpu")


def heat_picture(result: JobResult, folder: Path) -> Dataset:
    (made,) = [one for one in result.objects if one.path.name.startswith("heat-")]
    return dcmread(folder / made.path)


def colour_of(picture: Dataset) -> NDArray[np.int64]:
    rgb = picture.pixel_array.astype(int)
    found: NDArray[np.int64] = rgb.max(axis=-1) - rgb.min(axis=-1)
    return found


@pytest.mark.parametrize("stated", [["L", "F"], ["R", "F"], ["L", "H"], ["F", "L"]], ids="/".join)
def test_an_x_ray_of_torchscript_gets_its_map_on_its_stored_pixels(
    tmp_path: Path, stated: list[str]
) -> None:
    saved(x_ray(picture_of_a_spot(), PatientOrientation=stated), tmp_path / "in" / "1.dcm")
    result = run(scripted(tmp_path, 2), tmp_path)
    picture = heat_picture(result, tmp_path / "out")
    assert "Occlusion sensitivity of Cyst in boxes of " in picture.DerivationDescription
    assert_hottest_inside(colour_of(picture), PICTURE_SPOT)


def test_the_same_job_covers_the_same_boxes(tmp_path: Path) -> None:
    saved(x_ray(picture_of_a_spot()), tmp_path / "in" / "1.dcm")
    registered = scripted(tmp_path, 2)
    one, other = (heat_picture(run(registered, tmp_path, out), tmp_path / out) for out in "ab")
    assert one.PixelData == other.PixelData


def test_near_certainty_still_shows_what_it_hangs_on(tmp_path: Path) -> None:
    pixels = picture_of_a_spot()
    pixels[PICTURE_SPOT] = 4000
    saved(x_ray(pixels), tmp_path / "in" / "1.dcm")
    result = run(scripted(tmp_path, 2), tmp_path)
    assert max(m.value for m in result.measurements if m.quantity == CERTAINTY) == pytest.approx(
        100
    )
    assert_hottest_inside(colour_of(heat_picture(result, tmp_path / "out")), PICTURE_SPOT)


def test_over_its_time_limit_the_result_goes_without_the_map_and_says_so(tmp_path: Path) -> None:
    saved(x_ray(picture_of_a_spot()), tmp_path / "in" / "1.dcm")
    registered = scripted(tmp_path, 2, explanation={"time_limit_s": 1e-6})
    result = run(registered, tmp_path)
    assert [made.kind.name for made in result.objects] == ["SR"]
    told = json.dumps(dcmread(tmp_path / "out" / "sr.dcm").to_json_dict())
    assert "No heat map: covering the image box by box took longer than 1e-06 s" in told


def test_gradcam_asked_of_torchscript_is_told_what_does_instead(tmp_path: Path) -> None:
    saved(x_ray(picture_of_a_spot()), tmp_path / "in" / "1.dcm")
    registered = scripted(tmp_path, 2, explanation={"method": "gradcam"})
    with pytest.raises(InvalidBundle, match="use `method: occlusion`"):
        run(registered, tmp_path)


def test_a_check_tells_how_many_answers_it_takes(tmp_path: Path) -> None:
    saved(x_ray(picture_of_a_spot()), tmp_path / "in" / "1.dcm")
    checked = checked_model(scripted(tmp_path, 2), tmp_path / "in", "cpu")
    assert checked.explanation.startswith("Occlusion sensitivity in boxes of 3 x 4, ")
    answers = int(checked.explanation.split(", ")[1].split()[0])
    assert answers == box_count((26, 30), (3, 4)) == 24 * 14


def test_boxes_are_never_larger_than_what_is_beside_them() -> None:
    assert box_edges((512, 512), None) == (60, 60)
    assert box_edges((2, 3), 3) == (1, 2)
    with pytest.raises(InvalidBundle, match="too small"):
        box_edges((1, 40), None)


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
