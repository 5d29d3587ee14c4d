"""Which layer of a classifier its heat maps look at, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet, resnet18

from pipelines.errors import InvalidBundle
from pipelines.gradcam import found_layer, map_shapes
from pipelines.model_check import checked_model
from pipelines.registry import register
from tests.integration.pipelines.explained_runs import (
    offered,
    run,
    spots,
)
from tests.unit.pipelines.bright_spot import explained_classes
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.projections import DX, saved, x_ray
from tests.unit.pipelines.volume_files import write_series


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (DenseNet(2, 1, 3, 8, 4, (2, 2), bn_size=2), "class_layers.relu"),
        (resnet18(spatial_dims=2, n_input_channels=1, num_classes=3), "layer4"),
    ],
    ids=["DenseNet", "ResNet"],
)
def test_the_layer_that_is_found_is_the_one_that_is_usually_named(
    network: torch.nn.Module, layer: str
) -> None:
    assert found_layer(map_shapes(network.eval(), torch.zeros(1, 1, 64, 64))) == layer


def test_a_named_layer_is_taken_and_a_wrong_one_told(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    named = offered(tmp_path, explained_classes(0.1, 0.9, layer="0"))
    checked = checked_model(named, tmp_path / "in", "cpu")
    assert checked.explanation == "Grad-CAM at layer 0 (named), whose map is 10 x 12 x 8"
    wrong = register(definition(**explained_classes(0.1, 0.9, layer="encoder.7")), tmp_path)
    assert "layer encoder.7 answers no map of the image; the last that do: 0, 1" in (
        checked_model(wrong, tmp_path / "in", "cpu").failure
    )
    with pytest.raises(InvalidBundle, match=r"encoder\.7"):
        run(wrong, tmp_path)


def test_a_check_says_what_could_be_looked_at_where_nothing_is_asked(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    changes = {**explained_classes(0.1, 0.9), "explanation": None}
    checked = checked_model(offered(tmp_path, changes), tmp_path / "in", "cpu")
    told = "not asked for; it would be Grad-CAM at layer 1 (found), whose map is 10 x 12 x 8"
    assert checked.explanation == told


def test_a_torchscript_network_is_told_to_be_opaque(tmp_path: Path) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    torch.jit.script(network.eval()).save(  # type: ignore[no-untyped-call]
        str(tmp_path / "flat.ts")
    )
    changes = {**explained_classes(0.01, 0.01), "inputs": {"image": DX}, "bundle": "flat.ts"}
    changes["classes"] = changes["classes"][:1]
    changes["network"] = {"labels": {0: "nothing", 1: "cyst"}}
    saved(x_ray(np.arange(900, dtype=np.uint16).reshape(30, 30)), tmp_path / "in" / "1.dcm")
    with pytest.raises(InvalidBundle, match="TorchScript network cannot be looked into"):
        run(register(definition(**changes), tmp_path), tmp_path)
