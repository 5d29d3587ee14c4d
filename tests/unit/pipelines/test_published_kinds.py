"""Structures that published bundles have and the shipped one has not: they run, or say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bundle import load_bundle
from pipelines.bundle_metadata import read_metadata
from pipelines.errors import InvalidBundle
from tests.unit.pipelines.test_bundle_variations import (
    ARGMAX,
    CPU,
    POSTPROCESSING,
    PREPROCESSING,
    answer,
    assert_right,
    levels,
)
from tests.unit.pipelines.threshold_bundle import (
    CHANNEL,
    FLOAT,
    INVERT,
    LOAD,
    RAS,
    SAVE,
    metadata,
    spacing,
    write_bundle,
    write_json,
)


def test_quoted_files_are_read_from_the_bundle_wherever_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(
        tmp_path / "b",
        preprocessing_chain="%configs/common.json::chains::before",
        postprocessing_chain="%more.yaml::after",
    )
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    config["preprocessing"] = "@preprocessing_chain"
    config["postprocessing"] = "%postprocessing_chain"
    write_json(bundle / "configs" / "inference.json", config)
    common = {"chains": {"before": PREPROCESSING, "after": POSTPROCESSING}}
    write_json(bundle / "configs" / "common.json", common)
    (bundle / "configs" / "more.yaml").write_text('after: "%configs/common.json::chains::after"\n')
    monkeypatch.chdir(tmp_path)
    assert_right(load_bundle(bundle, CPU))


@pytest.mark.parametrize(
    ("macro", "told"),
    [
        ("%../secret.json::key", "not in the bundle"),
        ("%/etc/passwd.json::key", "not in the bundle"),
        ("%no_such_key", "quotes nothing"),
        ("%configs/missing.json::key", "not in the bundle"),
        ("%configs/metadata.json::nowhere", "quotes nothing"),
        ("%inferer", "quotes itself"),
        ("%configs/broken.json::key", "cannot be read"),
    ],
)
def test_a_quotation_that_leads_nowhere_is_told(tmp_path: Path, macro: str, told: str) -> None:
    write_json(tmp_path / "secret.json", {"key": {"_target_": "SimpleInferer"}})
    bundle = write_bundle(tmp_path / "b", inferer=macro)
    (bundle / "configs" / "broken.json").write_text("{")
    with pytest.raises(InvalidBundle, match=told):
        load_bundle(bundle, CPU)


def test_a_device_that_is_written_down_is_the_one_in_use(tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path / "b",
        arch_path="$@bundle_root + '/models/search_code.pt'",
        arch="$torch.load(@arch_path, map_location=torch.device('cuda'))",
        kernel="$int(@arch['size'][0])",
        network_def={
            "_target_": "torch.nn.Conv3d",
            "in_channels": 1,
            "out_channels": "$len(@arch['codes'])",
            "kernel_size": "@kernel",
            "padding": 1,
            "device": '$torch.device("cuda:0")',
        },
    )
    searched = {"size": np.array([3]), "codes": torch.zeros(3)}
    torch.save(searched, bundle / "models" / "search_code.pt")
    assert_right(load_bundle(bundle, CPU))


def test_transforms_put_together_by_an_expression(tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path / "b",
        first=[LOAD, CHANNEL],
        then=[RAS, FLOAT],
    )
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    config["preprocessing"] = {"_target_": "Compose", "transforms": "$@first + @then "}
    write_json(bundle / "configs" / "inference.json", config)
    assert_right(load_bundle(bundle, CPU))


def test_the_checkpoint_loader_among_the_handlers_names_the_weights(tmp_path: Path) -> None:
    loader = {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/best.pt'"}
    handlers = [{"_target_": "StatsHandler"}, {**loader, "load_dict": {"model": "@network"}}]
    bundle = write_bundle(tmp_path / "b", weights="best.pt", handlers=handlers)
    torch.save({"weight": torch.zeros(3, 1, 3, 3, 3)}, bundle / "models" / "model.pt")
    assert_right(load_bundle(bundle, CPU))


def test_a_component_in_debug_mode_does_not_wait_at_a_terminal(tmp_path: Path) -> None:
    inferer = {"_target_": "SimpleInferer", "_mode_": "debug"}
    assert_right(load_bundle(write_bundle(tmp_path / "b", inferer=inferer), CPU))


def with_scripts(bundle: Path, code: str) -> Path:
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "__init__.py").write_text("")
    (bundle / "scripts" / "own.py").write_text(code)
    return bundle


EVALUATOR = {"_target_": "scripts.own.Own", "network": "@network", "inferer": "@inferer"}

SAVES = "from monai.engines import SupervisedEvaluator\nclass Own(SupervisedEvaluator):\n    pass\n"

PROMPTS = SAVES.replace("pass", "def _iteration(self, engine, batch):\n        return {}")


def test_an_evaluator_of_its_own_that_only_saves_is_no_hindrance(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", evaluator=EVALUATOR)
    assert_right(load_bundle(with_scripts(bundle, SAVES), CPU))


@pytest.mark.parametrize(
    ("code", "evaluator", "told"),
    [
        (PROMPTS, EVALUATOR, r"scripts\.own\.Own"),
        ("def Own(**keys):\n    return None\n", EVALUATOR, r"scripts\.own\.Own"),
        ("import a_module_that_is_not_there\n", EVALUATOR, r"scripts\.own\.Own"),
        (
            "",
            {"_target_": "SupervisedEvaluator", "prepare_batch": "$lambda b, d, n: (b, ())"},
            "prepare_batch",
        ),
        ("", {"_target_": "monai.engines.EnsembleEvaluator"}, "monai.engines.EnsembleEvaluator"),
    ],
    ids=["own iteration", "a function", "broken", "own batches", "several networks"],
)
def test_an_evaluator_with_ways_of_its_own_is_told(
    tmp_path: Path, code: str, evaluator: dict[str, Any], told: str
) -> None:
    bundle = with_scripts(write_bundle(tmp_path / "b", evaluator=evaluator), code)
    with pytest.raises(InvalidBundle, match=f"evaluator has ways of its own .{told}"):
        load_bundle(bundle, CPU)


def test_an_inferer_in_scripts_and_settings_as_words_are_taken(tmp_path: Path) -> None:
    normal = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 1}
    normal |= {"b_min": 0, "b_max": 1, "clip": False}
    words = {"_target_": "EnsureTyped", "keys": "image", "track_meta": "True"}
    channel: dict[str, Any] = {"_target_": "AddChanneld", "keys": "image"}
    chain: list[dict[str, Any]] = [LOAD, channel, RAS, normal, words, FLOAT]
    bundle = write_bundle(
        tmp_path / "b", preprocessing=chain, inferer={"_target_": "scripts.own.Inferer"}
    )
    code = "from monai.inferers import SimpleInferer\nclass Inferer(SimpleInferer):\n    pass\n"
    assert_right(load_bundle(with_scripts(bundle, code), CPU))


def test_labels_that_are_decided_before_they_go_back_are_labels_still(tmp_path: Path) -> None:
    keep = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]}
    bundle = write_bundle(
        tmp_path / "b",
        preprocessing=[LOAD, CHANNEL, RAS, spacing(0.7, 0.7, 0.8), FLOAT],
        postprocessing=[ARGMAX, keep, {**INVERT, "meta_key_postfix": "meta_dict"}, SAVE],
    )
    found = answer(load_bundle(bundle, CPU))
    expected = np.digitize(levels().voxels, [100, 200])
    assert set(np.unique(found)) == {0, 1, 2}
    assert np.mean(found == expected) > 0.97


def written(tmp_path: Path, **pred: Any) -> Path:
    told = metadata()
    told["network_data_format"]["inputs"]["image"] |= pred.pop("image", {})
    told["network_data_format"]["outputs"] = pred.pop("outputs", {"pred": pred})
    told |= {"task": "a task"}
    write_json(tmp_path / "metadata.json", told)
    return tmp_path / "metadata.json"


HOVER = {
    "nucleus_prediction": {"type": "probability", "format": "segmentation"},
    "horizontal_vertical": {"type": "probability", "format": "regression"},
}


@pytest.mark.parametrize(
    ("pred", "told"),
    [
        ({"type": "object", "format": "dict", "num_channels": 1}, "it detects objects"),
        ({"type": "tuples", "format": "points", "channel_def": {"0": "Y"}}, "it finds points"),
        ({"type": "image", "format": "image", "channel_def": {"0": "T1w"}}, "it makes images"),
        ({"image": {"type": "tabular", "format": "nii"}, "num_channels": 1}, "is no image"),
        ({"image": {"type": "tuples", "format": "latent"}, "num_channels": 1}, "is no image"),
        ({"image": {"modality": "regular"}, "num_channels": 2}, "photograph .modality regular"),
        ({"outputs": HOVER}, "several things .nucleus_prediction, horizontal_vertical"),
        (
            {
                "image": {"is_patch_data": True},
                "type": "probability",
                "format": "classification",
                "channel_def": {"0": "metastasis"},
            },
            "judges patches",
        ),
    ],
    ids=[
        "detection",
        "landmarks",
        "synthesis",
        "conditions",
        "latent",
        "endoscopy",
        "several",
        "slides",
    ],
)
def test_what_neither_outlines_nor_judges_is_refused_by_what_it_does(
    tmp_path: Path, pred: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidBundle, match=told):
        read_metadata(written(tmp_path, **pred))


@pytest.mark.parametrize(
    ("pred", "channels", "kind"),
    [
        (
            {"type": "image", "format": "segmentation", "num_channels": 3},
            {0: "background", 1: "label 1", 2: "label 2"},
            "segmentation",
        ),
        ({"type": "image", "format": "labels", "num_channels": 1}, {0: "label 1"}, "segmentation"),
        (
            {"type": "probabilities", "format": "classes", "num_channels": 2},
            {0: "class 0", 1: "class 1"},
            "classification",
        ),
        (
            {"format": "labels", "num_channels": 4, "spatial_shape": [1, 4]},
            {0: "class 0", 1: "class 1", 2: "class 2", 3: "class 3"},
            "classification",
        ),
    ],
)
def test_channels_without_a_meaning_are_numbered(
    tmp_path: Path, pred: dict[str, Any], channels: dict[int, str], kind: str
) -> None:
    found = read_metadata(written(tmp_path, **pred))
    assert (dict(found.channels), found.kind) == (channels, kind)


def test_neither_meaning_nor_number_of_channels_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundle, match="channel_def or num_channels"):
        read_metadata(written(tmp_path, type="image", format="segmentation"))


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    network = {"_target_": "torch.nn.Identity", "made_by": "$importlib.import_module('no_such')"}
    bundle = write_bundle(tmp_path / "b", network_def=network, imports=["$import importlib"])
    with pytest.raises(InvalidBundle, match=r"No module named 'no_such'.*install what it needs"):
        load_bundle(bundle, CPU)
