"""Ways in which published bundles differ from each other, all taken as they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.bundle_chain import postprocessing_chain
from pipelines.bundle_config import prepared
from pipelines.errors import InvalidBundle
from pipelines.inference import infer
from pipelines.labels import OverlappingLabels, mask_of
from pipelines.preprocessing import preprocessed
from pipelines.registry import register
from pipelines.restore import restored_label_map
from pipelines.series_volume import SeriesVolume
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.label_map_cases import axial
from tests.unit.pipelines.threshold_bundle import (
    CHANNEL,
    FLOAT,
    INVERT,
    LOAD,
    RAS,
    SAVE,
    metadata,
    write_bundle,
    write_json,
)

CPU = torch.device("cpu")
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
PREPROCESSING = {"_target_": "Compose", "transforms": [LOAD, CHANNEL, RAS, FLOAT]}
POSTPROCESSING = {"_target_": "Compose", "transforms": [INVERT, ARGMAX, SAVE]}


def levels() -> SeriesVolume:
    voxels = np.full((6, 12, 14), 50)
    voxels[1:3, 2:6, 3:8] = 150
    voxels[3:5, 4:8, 9:12] = 250
    return axial(voxels)


def answer(bundle: LoadedBundle) -> Any:
    data = preprocessed({"image": levels()}, bundle)
    return restored_label_map(data, infer(data, bundle), levels(), bundle)


def assert_right(bundle: LoadedBundle) -> None:
    assert np.array_equal(answer(bundle), np.digitize(levels().voxels, [100, 200]))


def test_parts_are_found_where_the_evaluator_has_them(tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path / "bundle",
        loader={"_target_": "DataLoader", "dataset": "@data"},
        data={"_target_": "Dataset", "data": [], "transform": "@before"},
        before=PREPROCESSING,
        evaluator={
            "_target_": "SupervisedEvaluator",
            "val_data_loader": "@loader",
            "network": "@network",
            "inferer": {"_target_": "SimpleInferer"},
            "postprocessing": {
                "_target_": "Compose",
                "transforms": [{**INVERT, "transform": "@before"}, ARGMAX, SAVE],
            },
        },
    )
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("preprocessing", "inferer", "postprocessing"):
        del config[name]
    write_json(path, config)
    assert_right(load_bundle(bundle, CPU))


def test_a_configuration_with_imports_meta_and_yaml(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", imports=["$import os", "$from pathlib import Path"])
    path = bundle / "configs" / "inference.json"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["_meta_"] = {"version": "7"}
    config["kernel"] = "$int(Path('3').name) + 0 * os.getpid()"
    config["network_def"]["kernel_size"] = "@kernel"
    path.unlink()
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert_right(load_bundle(bundle, CPU))


@pytest.mark.parametrize("named", ["$@bundle_root + '/models/best.pt'", "models/best.pt"])
def test_weights_lie_where_the_checkpoint_loader_says(tmp_path: Path, named: str) -> None:
    loader = {"_target_": "CheckpointLoader", "load_path": named, "load_dict": {}}
    bundle = write_bundle(tmp_path / "bundle", weights="model.pt", checkpointloader=loader)
    (bundle / "models" / "model.pt").rename(bundle / "models" / "best.pt")
    (bundle / "models" / "model_lowres.pt").write_bytes(b"others")
    assert_right(load_bundle(bundle, CPU))


def test_weights_outside_of_the_bundle_are_refused(tmp_path: Path) -> None:
    loader = {"_target_": "CheckpointLoader", "load_path": "../elsewhere.pt"}
    bundle = write_bundle(tmp_path / "bundle", checkpointloader=loader)
    with pytest.raises(InvalidBundle, match="outside the bundle"):
        load_bundle(bundle, CPU)


def test_weights_of_a_network_that_ran_on_several_devices(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", weights="model.pt")
    path = bundle / "models" / "model.pt"
    state = torch.load(path, weights_only=True)["model"]
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    assert_right(load_bundle(bundle, CPU))


def test_each_bundle_has_scripts_of_its_own(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 1000)):
        network = {"_target_": "scripts.nets.made"}
        bundle = write_bundle(tmp_path / name, network_def=network)
        (bundle / "scripts").mkdir()
        (bundle / "scripts" / "__init__.py").write_text("")
        (bundle / "scripts" / "nets.py").write_text(
            "import torch\n"
            "class Net(torch.nn.Conv3d):\n"
            f"    shift = {value}\n"
            "    def forward(self, x):\n"
            "        return super().forward(x - self.shift)\n"
            "def made():\n"
            "    return Net(1, 3, 3, padding=1)\n"
        )
    assert_right(load_bundle(tmp_path / "a", CPU))
    assert not answer(load_bundle(tmp_path / "b", CPU)).any()
    assert_right(load_bundle(tmp_path / "a", CPU))
    assert [name for name in sys.modules if name.partition(".")[0] == "scripts"] == []
    assert list(tmp_path.rglob("__pycache__")) == []


def test_a_sigmoid_head_keeps_structures_that_overlap(tmp_path: Path) -> None:
    threshold = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    sigmoid = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
    bundle = write_bundle(tmp_path / "bundle", postprocessing=[sigmoid, INVERT, threshold, SAVE])
    write_json(bundle / "configs" / "metadata.json", metadata(c0="all", c1="low", c2="high"))
    found = answer(load_bundle(bundle, CPU))
    assert isinstance(found, OverlappingLabels)
    assert mask_of(found, 1).all()
    assert np.array_equal(mask_of(found, 2), levels().voxels >= 100)
    assert np.array_equal(mask_of(found, 3), levels().voxels >= 150)


def test_without_postprocessing_the_likeliest_class_wins(tmp_path: Path) -> None:
    assert_right(load_bundle(write_bundle(tmp_path / "bundle", postprocessing=[]), CPU))


def test_the_largest_component_alone_is_kept_where_the_bundle_says_so(tmp_path: Path) -> None:
    largest = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}
    bundle = write_bundle(tmp_path / "bundle", postprocessing=[INVERT, ARGMAX, largest, SAVE])
    assert_right(load_bundle(bundle, CPU))


def test_what_monai_no_longer_takes_is_left_out() -> None:
    config = {
        "network_def": {"_target_": "SwinUNETR", "img_size": 96, "in_channels": 1},
        "before": [{"_target_": "AddChanneld", "keys": "image"}],
    }
    renewed = prepared(config)
    assert renewed["network_def"] == {"_target_": "SwinUNETR", "in_channels": 1}
    assert renewed["before"][0]["_target_"] == "EnsureChannelFirstd"
    assert config["network_def"]["img_size"] == 96  # type: ignore[index]


@pytest.mark.parametrize(
    ("steps", "head", "known"),
    [
        ([{"_target_": "Activationsd", "softmax": True}, {"_target_": "Invertd"}], "softmax", True),
        ([{"_target_": "monai.transforms.AsDiscreted", "threshold": 0.4}], "sigmoid", True),
        ([{"_target_": "AsDiscreted", "argmax": "@is_argmax"}], "softmax", True),
        (["$lambda x: x", {"_target_": "SaveImaged"}], "unknown", False),
    ],
)
def test_the_kind_of_the_answer_is_read_from_the_steps(
    steps: list[Any], head: str, known: bool
) -> None:
    post = {"_target_": "Compose", "transforms": steps}
    chain = postprocessing_chain({"postprocessing": post, "is_argmax": True})
    assert (chain.head, chain.is_known) == (head, known)


def test_a_model_that_gives_classes_instead_of_labels_is_told_as_such(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    values = metadata()
    values["network_data_format"]["outputs"]["pred"] |= {
        "type": "probabilities",
        "format": "classes",
        "spatial_shape": [1],
    }
    write_json(bundle / "configs" / "metadata.json", values)
    with pytest.raises(InvalidBundle, match="classes, not labels"):
        register(definition(), tmp_path)


def left_in(folder: Path, *steps: dict[str, Any]) -> LoadedBundle:
    """A bundle whose authors forgot to take transforms of the training out."""
    chance = [{"keys": "image", **step} for step in steps]
    write_bundle(folder, preprocessing=[LOAD, CHANNEL, RAS, FLOAT, *chance])
    return load_bundle(folder, CPU)


def test_chance_draws_the_same_for_every_image(tmp_path: Path) -> None:
    noise = {"_target_": "RandGaussianNoised", "prob": 1, "std": 60.0, "sample_std": False}
    flip = {"_target_": "RandFlipd", "prob": 0.5, "spatial_axis": 0}
    bundle, other = (left_in(tmp_path / name, noise, flip) for name in ("warm", "fresh"))
    first = answer(bundle)
    assert not np.array_equal(first, np.digitize(levels().voxels, [100, 200]))
    for again in (bundle, bundle, other):
        assert np.array_equal(answer(again), first)


def test_labels_come_back_from_a_flip_by_chance(tmp_path: Path) -> None:
    assert_right(left_in(tmp_path, {"_target_": "RandFlipd", "prob": 1.0, "spatial_axis": [0, 2]}))
