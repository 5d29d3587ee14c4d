"""Heat maps of classifiers lie where the network looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import pipelines.gradcam
from pipelines.class_cases import class_cases
from pipelines.classifying import Judge
from pipelines.explaining import placed_map
from pipelines.explanation_schema import Explanation
from pipelines.gradcam import Explainer
from pipelines.model_loading import load_model
from pipelines.preprocessing import preprocessed
from pipelines.reading_policy import ReadingPolicy
from pipelines.registry import RegisteredPipeline
from pipelines.series_volume import SeriesVolume, read_series
from tests.integration.pipelines.explained_runs import (
    CPU,
    expected,
    heat_of,
    offered,
    pictures,
    run,
    spots,
)
from tests.unit.pipelines.bright_spot import BRIGHT, explained_classes
from tests.unit.pipelines.classifier_bundle import CHANNEL, LOAD
from tests.unit.pipelines.projections import DX, saved, x_ray
from tests.unit.pipelines.threshold_bundle import FLOAT, RAS, spacing
from tests.unit.pipelines.volume_files import write_series

ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "axial, mirrored": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "transposed": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
}


def map_of(registered: RegisteredPipeline, volume: SeriesVolume) -> NDArray[np.float32]:
    bundle = load_model(registered, CPU)
    definition = registered.definition
    (case,) = class_cases(definition, {"image": volume}, bundle, registered.channel_roles)
    explainer = Explainer(case.data, Judge(bundle), definition.explanation or Explanation())
    return placed_map(explainer, 1, case.pictures[0], bundle)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_the_map_lies_on_the_voxels_that_decided(
    tmp_path: Path, method: str, orientation: Sequence[float]
) -> None:
    registered = offered(tmp_path, explained_classes(0.1, 0.9, method=method))
    voxels = spots()
    paths = write_series(tmp_path / "in", voxels, orientation=orientation)
    volume = read_series(paths)
    assert np.array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(map_of(registered, volume), expected(voxels), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_image_has_the_mirrored_map_whatever_the_bundle_prepares(
    tmp_path: Path, axis: int
) -> None:
    crop = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"}
    crop["select_fn"] = "$lambda x: x > 150"
    resized = {"_target_": "Resized", "keys": "image", "spatial_size": [20, 16, 18]}
    chain = [LOAD, CHANNEL, RAS, spacing(0.8, 1.1, 1.6), crop, resized, FLOAT]
    registered = offered(tmp_path, explained_classes(0.1, 0.9), preprocessing=chain)
    volume = read_series(write_series(tmp_path / "in", spots(), spacing_mm=(2.0, 1.0, 1.0)))
    mirrored = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))
    straight, other = map_of(registered, volume), map_of(registered, mirrored)
    difference = np.abs(np.flip(other, axis) - straight)
    # Rounding the size of a resampled grid moves it by part of a voxel.
    assert np.corrcoef(np.flip(other, axis).ravel(), straight.ravel())[0, 1] > 0.9
    assert difference.mean() < 0.03
    assert np.corrcoef(other.ravel(), straight.ravel())[0, 1] < 0.5
    brightest = np.unravel_index(straight.argmax(), straight.shape)
    assert volume.voxels[brightest] == 900


def test_a_planted_fault_in_the_way_back_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    volume = read_series(write_series(tmp_path / "in", spots((10, 10, 10))))
    right = map_of(registered, volume)
    was = pipelines.gradcam.Explainer.network_map
    for fault in ((0,), (1,), (2,)):
        monkeypatch.setattr(
            pipelines.gradcam.Explainer,
            "network_map",
            lambda self, output, channels, axes=fault: torch.flip(was(self, output), axes),
        )
        assert np.abs(map_of(registered, volume) - right).max() > 0.5


def test_a_tilted_stack_gets_its_map_slice_by_slice(tmp_path: Path) -> None:
    def lean(image: Dataset, index: int) -> None:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + index, z]

    changes = explained_classes(0.1, 0.9)
    changes["inputs"] = {
        "image": {"where": [{"tag": "Modality", "equals": "MR"}], "allow_tilt": True}
    }
    registered = offered(tmp_path, changes)
    voxels = spots()
    paths = write_series(tmp_path / "in", voxels, spacing_mm=(2.0, 1.0, 1.0), edit=lean)
    policy = ReadingPolicy.of(registered.definition.inputs["image"])
    found = map_of(registered, read_series(paths, policy))
    np.testing.assert_allclose(found, expected(voxels), atol=1e-5)


@pytest.mark.parametrize("stated", [["L", "F"], ["R", "F"], ["L", "H"], ["F", "L"]], ids="/".join)
def test_an_x_ray_gets_its_map_on_its_own_stored_pixels(tmp_path: Path, stated: list[str]) -> None:
    pixels = np.random.default_rng(3).integers(0, 200, (30, 26)).astype(np.uint16)
    pixels[4:9, 15:19] = 1000
    saved(x_ray(pixels, PatientOrientation=stated), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    result = run(offered(tmp_path, changes, dimensions=2), tmp_path)
    (picture,) = pictures(result, tmp_path / "out")
    assert (picture.Rows, picture.Columns) == pixels.shape
    assert np.array_equal(heat_of(picture) > 0, pixels > BRIGHT)
    assert list(picture.PatientOrientation) == stated


def test_the_warm_network_stays_as_it_was(tmp_path: Path) -> None:
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    volume = read_series(write_series(tmp_path / "in", spots()))
    bundle = load_model(registered, CPU)
    before = Judge(bundle).of(preprocessed({"image": volume}, bundle))
    map_of(registered, volume)
    data = preprocessed({"image": volume}, bundle)
    Explainer(data, Judge(bundle), Explanation()).network_map(1)
    assert not any(module._forward_hooks for module in bundle.network.modules())
    after = Judge(bundle).of(preprocessed({"image": volume}, bundle))
    assert np.array_equal(before, after)
