"""Heat maps of networks that show nothing of themselves: TorchScript, and windows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.explaining
import pipelines.occlusion
from pipelines.errors import InvalidBundle
from pipelines.model_check import checked_model
from pipelines.occlusion import Occluder, box_count, box_edges
from pipelines.series_volume import read_series
from storage.quantities import CERTAINTY
from storage.records import JobResult
from tests.integration.pipelines.bright_volumes import (
    SPOT,
    assert_hottest_inside,
    map_of,
    run,
    scripted,
    volume_of_spots,
)
from tests.unit.pipelines.projections import saved, x_ray
from tests.unit.pipelines.volume_files import write_series

PICTURE_SPOT = (slice(4, 9), slice(19, 24))


def picture_of_a_spot() -> NDArray[np.uint16]:
    pixels = np.random.default_rng(3).integers(0, 200, (30, 26)).astype(np.uint16)
    pixels[PICTURE_SPOT] = 1000
    return pixels


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
