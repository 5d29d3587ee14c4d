"""Published bundles whose network takes single slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bundle import load_bundle
from pipelines.labels import mask_of
from pipelines.preprocessing import preprocessed
from pipelines.segmenting import segmented
from pipelines.slicewise import fit_for_volumes
from pipelines.stages import StageTimes
from tests.unit.pipelines.test_bundle_variations import (
    CPU,
    assert_right,
    levels,
)
from tests.unit.pipelines.threshold_bundle import (
    CHANNEL,
    FLOAT,
    LOAD,
    metadata,
    write_bundle,
    write_json,
)

FLAT_NETWORK = {
    "_target_": "torch.nn.Conv2d",
    "in_channels": 1,
    "out_channels": 3,
    "kernel_size": 1,
}


def flat(folder: Path, channels: int = 1, **changes: Any) -> Path:
    """A bundle whose network knows flat images only, and labels each pixel by its value."""
    network = {**FLAT_NETWORK, "in_channels": channels}
    bundle = write_bundle(folder, network_def=network, **changes)
    state = {
        "weight": torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1).repeat(1, channels, 1, 1)
        / channels,
        "bias": torch.tensor([0.0, -99.5, -299.0]),
    }
    (bundle / "models" / "model.safetensors").unlink()
    torch.save(state, bundle / "models" / "model.pt")
    return bundle


def test_a_flat_network_goes_through_a_volume_by_its_own_inferer(tmp_path: Path) -> None:
    inferer = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}
    assert_right(fit_for_volumes(load_bundle(flat(tmp_path / "b", inferer=inferer), CPU)))


RESIZED = {"_target_": "Resized", "keys": "image", "spatial_size": [28, 24], "mode": "nearest"}

WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "overlap": 0.25}

FLAT_CHAINS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "as it is": ([LOAD, CHANNEL, FLOAT], {"_target_": "SimpleInferer"}),
    "resized": ([LOAD, CHANNEL, RESIZED, FLOAT], {"_target_": "SimpleInferer"}),
    "windows": ([LOAD, CHANNEL, FLOAT], WINDOWS),
}


@pytest.mark.parametrize("name", FLAT_CHAINS)
def test_a_bundle_for_single_slices_runs_on_a_volume(tmp_path: Path, name: str) -> None:
    chain, inferer = FLAT_CHAINS[name]
    bundle = fit_for_volumes(
        load_bundle(flat(tmp_path / "b", preprocessing=chain, inferer=inferer), CPU)
    )
    assert_right(bundle)
    data = preprocessed({"image": levels()}, bundle)
    found = segmented(data, bundle, levels(), StageTimes())
    for value, expected in ((1, levels().voxels == 150), (2, levels().voxels == 250)):
        assert np.array_equal(mask_of(found, value), expected)


def test_a_bundle_for_colour_slices_gets_each_slice_three_times(tmp_path: Path) -> None:
    channel = {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1}
    bundle = flat(tmp_path / "b", 3, preprocessing=[LOAD, channel, FLOAT])
    told = metadata()
    told["network_data_format"]["inputs"]["image"] = {"num_channels": 3, "format": "RGB"}
    write_json(bundle / "configs" / "metadata.json", told)
    assert_right(fit_for_volumes(load_bundle(bundle, CPU)))
