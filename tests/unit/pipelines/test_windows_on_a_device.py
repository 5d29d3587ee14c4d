"""What goes to a device stays there until it is decided, followed without one by torch's `meta`.

Tensors of that device hold no values, but an operation on tensors of two devices breaks as it
would between a GPU and its host.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer

from pipelines import inference, windows
from pipelines.bundle import load_bundle
from pipelines.inference import answer_planes
from pipelines.network_call import NetworkCall
from pipelines.windows import finished_planes, window_plan
from tests.unit.pipelines.threshold_bundle import CHANNEL, FLOAT, LOAD, RAS, write_bundle

DEVICE = torch.device("meta")
WINDOWS = SlidingWindowInferer((16, 16, 16), overlap=0.5, mode="gaussian", sw_batch_size=4)


@pytest.fixture(autouse=True)
def no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asks for values, which such tensors have not."""
    monkeypatch.setattr(windows, "_only_value", lambda window: None)
    monkeypatch.setattr(inference, "_is_finite", lambda answer: True)


def network() -> torch.nn.Module:
    return torch.nn.Conv3d(1, 3, 3, padding=1, device=DEVICE)


def test_windows_are_blended_where_the_image_lies() -> None:
    image = torch.empty((1, 1, 40, 32, 32), device=DEVICE)
    plan = window_plan(WINDOWS, image)
    assert plan is not None
    with torch.inference_mode():
        slabs = list(finished_planes(image, NetworkCall(network(), DEVICE, "float32"), plan))
    assert {(slab.device, slab.dtype) for slab in slabs} == {(DEVICE, torch.float32)}
    assert sum(len(slab) for slab in slabs) == 40


def test_an_image_goes_to_the_device_before_its_windows_are_planned(tmp_path: Path) -> None:
    steps = (LOAD, CHANNEL, RAS, FLOAT)
    bundle = load_bundle(write_bundle(tmp_path / "bundle", preprocessing=steps), DEVICE)
    there = replace(bundle, network=network(), inferer=WINDOWS)
    data = {"image": MetaTensor(torch.zeros((1, 24, 16, 16)))}
    with torch.inference_mode():
        slabs = list(answer_planes(data, there, "float32", None))
    assert {slab.device for slab in slabs} == {DEVICE}
