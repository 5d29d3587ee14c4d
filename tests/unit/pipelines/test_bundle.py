"""Making a bundle ready to run, as it was published."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.errors import InvalidBundle
from tests.unit.pipelines.threshold_bundle import (
    CHANNEL,
    FLOAT,
    LOAD,
    RAS,
    write_bundle,
    write_json,
)

CPU = torch.device("cpu")


def loaded(folder: Path, **changes: Any) -> LoadedBundle:
    return load_bundle(write_bundle(folder / "bundle", **changes), CPU)


def problem(folder: Path, **changes: Any) -> str:
    with pytest.raises(InvalidBundle) as caught:
        loaded(folder, **changes)
    return str(caught.value)


def test_a_bundle_loads_without_its_reader_and_without_the_device_it_names(tmp_path: Path) -> None:
    bundle = loaded(tmp_path)
    parameters = list(bundle.network.parameters())
    assert {parameter.device for parameter in parameters} == {CPU}
    assert not any(parameter.requires_grad for parameter in parameters)
    assert not bundle.network.training


def test_loading_and_saving_of_files_is_switched_off_wherever_it_stands(tmp_path: Path) -> None:
    nested = {"_target_": "Compose", "transforms": [LOAD, CHANNEL]}
    named = loaded(tmp_path, preprocessing=[nested, RAS], loader={**LOAD, "keys": "other"})
    names = [type(item).__name__ for item in named.preprocessing.transforms]  # type: ignore[attr-defined]
    assert names == ["Compose", "Orientationd"]


@pytest.mark.parametrize("weights", ["model.safetensors", "model.pt"])
def test_both_kinds_of_weights_load(tmp_path: Path, weights: str) -> None:
    bias = loaded(tmp_path, weights=weights).network.bias
    assert isinstance(bias, torch.Tensor)
    assert bias.tolist() == [0.0, -99.5, -299.0]


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    bundle = write_bundle(tmp_path / "bundle", weights="model.pt")
    (bundle / "models" / "model.pt").write_bytes(pickle.dumps({"weight": Payload()}, protocol=2))
    with pytest.raises(InvalidBundle, match=r"model\.pt"):
        load_bundle(bundle, CPU)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["inference.yaml", "inference.yml"])
def test_the_configuration_may_be_yaml(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    path = bundle / "configs" / "inference.json"
    path.rename(bundle / "configs" / name)  # JSON is YAML
    assert load_bundle(bundle, CPU).adds_channel


@pytest.mark.parametrize(
    ("transforms", "adds"),
    [
        ([LOAD, CHANNEL, RAS, FLOAT], True),
        ([{**LOAD, "ensure_channel_first": True}, RAS, FLOAT], False),
        ([{**LOAD, "ensure_channel_first": True}, CHANNEL, RAS], False),
        ([LOAD, RAS, FLOAT], False),
    ],
)
def test_it_is_known_who_adds_the_channel_axis(
    tmp_path: Path, transforms: list[dict[str, Any]], adds: bool
) -> None:
    assert loaded(tmp_path, preprocessing=transforms).adds_channel is adds


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network_def": {"_target_": "NoSuchNetwork"}}, "network_def cannot be made"),
        ({"network_def": {"_target_": "SimpleInferer"}}, "not a torch module"),
        ({"inferer": "$1 / 0"}, "inferer cannot be made (ZeroDivisionError: division by zero)"),
        ({"inferer": 3}, "inferer is not something that can be called"),
        ({"postprocessing": "@nothing"}, "postprocessing cannot be made"),
        ({"preprocessing": [{"_target_": "NoSuchTransform"}]}, "preprocessing cannot be made"),
    ],
)
def test_a_configuration_that_cannot_be_made_is_told_with_its_file(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    message = problem(tmp_path, **changes)
    assert str(tmp_path / "bundle" / "configs" / "inference.json") in message
    assert told in message


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 2, "out_channels": 3, "kernel_size": 3}
    assert "does not load into network_def" in problem(tmp_path, network_def=network)


@pytest.mark.parametrize("weights", ["model.safetensors", "model.pt"])
def test_weights_that_are_cut_off_are_told(tmp_path: Path, weights: str) -> None:
    bundle = write_bundle(tmp_path / "bundle", weights=weights)
    path = bundle / "models" / weights
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidBundle, match=weights):
        load_bundle(bundle, CPU)


def test_a_configuration_that_is_cut_off_is_told(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    path = bundle / "configs" / "inference.json"
    path.write_text(path.read_text(encoding="utf-8")[:50], encoding="utf-8")
    with pytest.raises(InvalidBundle, match=r"inference\.json: cannot be read"):
        load_bundle(bundle, CPU)


def test_a_bundle_without_a_key_is_told_which(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    write_json(
        bundle / "configs" / "inference.json", {"network_def": {"_target_": "SimpleInferer"}}
    )
    with pytest.raises(InvalidBundle):
        load_bundle(bundle, CPU)
