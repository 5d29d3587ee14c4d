"""Sequences that a bundle loads under keys of their own become the channels that it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bundle import load_bundle
from pipelines.preprocessing import preprocessed
from tests.unit.pipelines.label_map_cases import axial
from tests.unit.pipelines.threshold_bundle import metadata, write_bundle, write_json

ADC, T2 = 7.0, 9.0


def channels_of(
    folder: Path, loaded: list[str], joined: list[str], meant: list[str], roles: tuple[str, ...]
) -> list[float]:
    """The network's channels, of volumes that hold one value each."""
    steps: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": loaded},
        {"_target_": "EnsureChannelFirstd", "keys": loaded},
        {"_target_": "ConcatItemsd", "keys": joined, "name": "image"},
    ]
    bundle = write_bundle(folder, preprocessing=steps)
    values = metadata()
    values["network_data_format"]["inputs"]["image"] = {
        "num_channels": 2,
        "channel_def": dict(enumerate(meant)),
    }
    write_json(bundle / "configs" / "metadata.json", values)
    volumes = {
        "adc": axial(np.full((3, 4, 5), ADC)),
        "t2": axial(np.full((3, 4, 5), T2)),
    }
    data = preprocessed(volumes, load_bundle(bundle, torch.device("cpu")), roles)
    return [float(channel.mean()) for channel in data["image"]]


@pytest.mark.parametrize("loaded", [["t2", "adc"], ["adc", "t2"]], ids=" ".join)
def test_a_key_gets_the_sequence_of_its_name(tmp_path: Path, loaded: list[str]) -> None:
    assert channels_of(tmp_path, loaded, ["t2", "adc"], ["T2", "ADC"], ("t2", "adc")) == [T2, ADC]


def test_a_key_of_another_name_gets_the_sequence_of_its_place(tmp_path: Path) -> None:
    found = channels_of(tmp_path, ["b", "a"], ["a", "b"], ["ADC", "T2"], ("adc", "t2"))
    assert found == [ADC, T2]


def test_a_bundle_that_states_no_version_runs(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    values = metadata()
    del values["version"]
    write_json(bundle / "configs" / "metadata.json", values)
    assert load_bundle(bundle, torch.device("cpu")).metadata.version == "not stated"
