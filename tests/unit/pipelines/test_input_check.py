"""What looks unlike the training images is refused before the model runs, with its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from pydicom import dcmread

from node.demo.nifti import read_nifti
from pipelines.definition import load_definition
from pipelines.errors import RefusalCode, Refused
from pipelines.input_check import InputStatistics, distances, refuse_unlike
from pipelines.input_features import FEATURES, features_of
from pipelines.registry import SHIPPED_DEFINITIONS
from tests.acceptance.small_study import write_small_study

DEMO = Path(__file__).parents[3] / "node" / "demo" / "data"
Change = Callable[[NDArray[Any]], NDArray[Any]]


def shipped() -> InputStatistics:
    statistics = load_definition(SHIPPED_DEFINITIONS / "hippocampus_mr.yaml").inputs["image"]
    assert statistics.input_statistics is not None
    return statistics.input_statistics


def crop() -> NDArray[np.float32]:
    """A real crop that nobody trained on, of 1 mm voxels."""
    files = sorted((DEMO / "hippocampus" / "images").glob("*.nii.gz"))
    return np.ascontiguousarray(np.asarray(read_nifti(files[0]).voxels, dtype=np.float32))


def refusal(voxels: NDArray[Any], spacing_mm: tuple[float, float, float] = (1, 1, 1)) -> Refused:
    with pytest.raises(Refused) as caught:
        refuse_unlike(shipped(), voxels.astype(np.float32), spacing_mm, "image")
    assert caught.value.code is RefusalCode.OUT_OF_DISTRIBUTION
    return caught.value


@pytest.mark.parametrize(
    "path", sorted((DEMO / "hippocampus" / "images").glob("*.nii.gz")), ids=lambda path: path.name
)
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 1, 0)], ids=str)
def test_crops_that_were_never_trained_on_pass_in_any_plane(
    path: Path, axes: tuple[int, int, int]
) -> None:
    voxels = np.asarray(read_nifti(path).voxels, dtype=np.float32).transpose(axes)
    refuse_unlike(shipped(), np.ascontiguousarray(voxels), (1, 1, 1), "image")


def test_the_real_crop_of_another_hospital_passes() -> None:
    files = sorted(
        (DEMO / "pgbm" / "11_HCropVolume").glob("*.dcm"), key=lambda path: int(path.stem)
    )
    voxels = np.stack([dcmread(path).pixel_array for path in files]).astype(np.float32)
    refuse_unlike(shipped(), voxels, (1, 1, 1), "image")


def in_hounsfield(voxels: NDArray[Any]) -> NDArray[Any]:
    values: NDArray[Any] = voxels / voxels.max() * 1500 - 1000
    return values


def with_slice(number: int, change: Change) -> Change:
    def changed(voxels: NDArray[Any]) -> NDArray[Any]:
        copy = voxels.copy()
        copy[number] = change(copy[number])
        return copy

    return changed


def noise(pixels: NDArray[Any]) -> NDArray[Any]:
    dice = np.random.default_rng(1)
    return dice.permutation(pixels.ravel()).reshape(pixels.shape)


UNLIKE: dict[str, tuple[Change, str]] = {
    "Hounsfield units": (in_hounsfield, "dark is -2.9"),
    "values between 0 and 1": (lambda v: v / v.max(), "bright is 0."),
    "a thousand times too bright": (lambda v: v * 1e6, "bright is"),
    "negative values": (lambda v: -v, "dark is -"),
    "saturated": (lambda v: np.minimum(v, np.percentile(v, 70)), "highest_share is 0.3"),
    "cut off in the dark": (lambda v: np.maximum(v, np.percentile(v, 50)), "lowest_share is 0.5"),
    "a constant slice": (with_slice(9, lambda s: np.full_like(s, s.mean())), "constant_slices"),
    "a corrupt slice": (with_slice(9, noise), "slice_likeness"),
    "noise": (noise, "slice_likeness"),
    "inverted": (lambda v: v.max() + v.min() - v, "quantile_"),
    "two values": (lambda v: np.where(v > np.median(v), 200.0, 100.0), "quantile_"),
}


@pytest.mark.parametrize(("change", "told"), UNLIKE.values(), ids=UNLIKE)
def test_what_is_unlike_the_training_is_refused_with_its_figures(change: Change, told: str) -> None:
    refused = refusal(change(crop()))
    assert told in refused.text
    assert "limit 2" in refused.text
    assert "in training" in refused.text


def test_a_whole_head_is_refused_by_its_size() -> None:
    files = sorted((DEMO / "pgbm" / "11-T1post-18670").glob("*.dcm"))
    voxels = np.stack([dcmread(path).pixel_array for path in files])
    assert "longest_edge_mm is 220" in refusal(voxels, (6.5, 0.6875, 0.6875)).text


def test_a_chest_ct_is_refused_even_when_it_is_cut_to_the_size_of_a_crop() -> None:
    path = next((DEMO / "chest_ct" / "axial").glob("*.dcm"))
    image = dcmread(path).pixel_array.astype(np.float32)
    voxels = np.stack([image[200 + i : 250 + i, 200:235] for i in range(36)]) - 1024
    assert "image is unlike the 153 images" in refusal(voxels).text


def test_the_small_study_of_the_acceptance_tests_passes(tmp_path: Path) -> None:
    study = write_small_study(tmp_path)
    voxels = np.stack([dcmread(path).pixel_array for path in study.paths]).astype(np.float32)
    refuse_unlike(shipped(), voxels, (1, 1, 1), "image")


def test_the_scale_of_the_values_changes_no_figure_of_their_spread() -> None:
    one, other = (features_of(voxels, (1, 1, 1)) for voxels in (crop(), crop() * 7))
    same = [name for name in FEATURES if name not in ("dark", "middle", "bright")]
    assert [one[name] for name in same] == pytest.approx([other[name] for name in same], abs=1e-5)


def test_the_edge_of_a_range_is_at_distance_one() -> None:
    statistics = InputStatistics(cases=5, features={"roughness": (0.1, 0.5)})
    assert distances(statistics, {"roughness": 0.5}) == pytest.approx({"roughness": 1.0})
    assert distances(statistics, {"roughness": 0.7}) == pytest.approx({"roughness": 2.0})


def test_a_blank_volume_has_figures_and_no_crash() -> None:
    assert set(features_of(np.zeros((3, 4, 5), np.float32), (1, 1, 1))) == set(FEATURES)


@pytest.mark.parametrize(
    ("features", "told"),
    [({"colour": (0, 1)}, "colour is no feature"), ({"dark": (2, 1)}, "the lowest value comes")],
)
def test_statistics_that_cannot_be_meant_are_refused(features: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        InputStatistics(cases=5, features=features)
