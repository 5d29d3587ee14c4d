"""Answers of a network that are no label map, and images that do not fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bundle import load_bundle
from pipelines.errors import InferenceFailed, RefusalCode, Refused
from pipelines.preprocessing import preprocessed
from tests.unit.pipelines.label_map_cases import axial, ball, label_map
from tests.unit.pipelines.threshold_bundle import (
    ARGMAX,
    CHANNEL,
    FLOAT,
    INVERT,
    LOAD,
    RAS,
    metadata,
    write_bundle,
    write_json,
)


def failure(folder: Path, **changes: Any) -> str:
    bundle = load_bundle(write_bundle(folder / "bundle", **changes), torch.device("cpu"))
    with pytest.raises(InferenceFailed) as caught:
        label_map(axial(ball((8, 9, 10), (2.0, 2.0, 2.0))), bundle)
    return str(caught.value)


def scaled(expression: str) -> dict[str, Any]:
    return {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {expression}"}


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("x * 0.4", "values are not whole"),
        ("x - 1", "label values from -1"),
        ("x * 5", "label values [5, 10] are not in the bundle's channel_def"),
        ("x * float('nan')", "values are not whole"),
        ("x.no_such_method()", "postprocessing broke"),
    ],
)
def test_an_answer_that_is_no_label_map_of_the_bundle_is_a_failure(
    tmp_path: Path, expression: str, told: str
) -> None:
    assert told in failure(tmp_path, postprocessing=[INVERT, ARGMAX, scaled(expression)])


def test_channels_that_may_overlap_are_a_failure(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", postprocessing=[INVERT])
    write_json(folder / "configs" / "metadata.json", metadata(c0="core", c1="whole", c2="rim"))
    bundle = load_bundle(folder, torch.device("cpu"))
    with pytest.raises(InferenceFailed, match="may overlap"):
        label_map(axial(ball((8, 9, 10), (2.0, 2.0, 2.0))), bundle)


def test_a_network_that_does_not_fit_the_image_is_a_failure(tmp_path: Path) -> None:
    network = {
        "_target_": "torch.nn.Conv3d",
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": 3,
        "padding": 1,
        "padding_mode": "circular",
        "dilation": 1,
    }
    broken = {"_target_": "SlidingWindowInferer", "roi_size": [4, 4]}
    assert "the network broke on an image of (1, 10, 9, 8)" in failure(
        tmp_path, network_def=network, inferer=broken
    )


def test_a_network_that_answers_no_numbers_is_a_failure(tmp_path: Path) -> None:
    broken = {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x * float('nan')"}
    assert "not finite" in failure(tmp_path, preprocessing=[LOAD, CHANNEL, RAS, FLOAT, broken])


def test_several_series_become_channels_in_the_order_of_the_roles(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "bundle"), torch.device("cpu"))
    first, second = ball((8, 9, 10), (1.0, 1.0, 1.0)), np.ones((8, 9, 10))
    image = preprocessed({"t1": axial(first), "t2": axial(second)}, bundle)["image"]
    assert tuple(image.shape) == (2, 10, 9, 8)
    assert bool((image[1] == 1).all())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"frame_of_reference": "2.25.4"}, RefusalCode.MIXED_FRAMES_OF_REFERENCE),
        ({"spacing_mm": (1.0, 1.0, 1.1)}, RefusalCode.DIFFERENT_GRIDS),
    ],
)
def test_series_that_do_not_share_a_grid_are_refused(
    tmp_path: Path, changes: dict[str, Any], code: RefusalCode
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "bundle"), torch.device("cpu"))
    voxels = np.ones((8, 9, 10))
    with pytest.raises(Refused) as caught:
        preprocessed({"t1": axial(voxels), "t2": axial(voxels, **changes)}, bundle)
    assert caught.value.code is code
