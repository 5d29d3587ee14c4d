"""The bundle as it ships: complete, loadable, measured, and honest about it."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from safetensors.torch import load_file

from pipelines.training.bundle_config import build, read_config
from pipelines.training.datasets import split_stems
from pipelines.training.evaluate import bundle_predictor
from pipelines.training.export import LARGEST_FILE_BYTES
from pipelines.training.model_card import card_sections, eval_metrics, fill_markers
from pipelines.training.storage_variants import store_as

BUNDLE = Path(__file__).parents[3] / "pipelines" / "bundles" / "hippocampus_mr"
WEIGHTS = BUNDLE / "models" / "model.safetensors"
TARGETS = {"Anterior hippocampus": 0.89, "Posterior hippocampus": 0.87}


def read_json(*parts: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(BUNDLE.joinpath(*parts).read_text())
    return content


def a_crop() -> np.ndarray[Any, Any]:
    """Return something like a crop: a bright elongated body on a noisy ground."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (34, 48, 36)), indexing="ij")
    body = np.exp(-8 * (x**2 + 0.3 * y**2 + z**2))
    noise = np.random.default_rng(0).normal(0, 0.1, body.shape)
    return (1000 * (body + noise)).astype(np.float32)


def as_volume(array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> MetaTensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))[None]
    meta = {"original_channel_dim": 0, "space": "RAS"}
    return MetaTensor(tensor, affine=torch.from_numpy(affine), meta=meta)


@pytest.mark.parametrize(
    "path", ["LICENSE", "docs/README.md", "docs/data_license.txt", "docs/training.json"]
)
def test_the_bundle_carries_its_papers(path: str) -> None:
    assert (BUNDLE / path).read_text().strip()


def test_the_metadata_names_every_channel_of_the_output() -> None:
    output = read_json("configs", "metadata.json")["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {
        "0": "background",
        "1": "Anterior hippocampus",
        "2": "Posterior hippocampus",
    }
    assert output["num_channels"] == len(output["channel_def"])


def test_the_metadata_describes_the_input_that_the_network_takes() -> None:
    metadata, config = read_json("configs", "metadata.json"), read_config(BUNDLE)
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["modality"] == "MR"
    assert image["num_channels"] == config["network_def"]["in_channels"]
    assert image["spatial_shape"] == config["inferer"]["roi_size"]


def test_the_weights_are_small_and_fit_the_network_strictly() -> None:
    assert WEIGHTS.stat().st_size <= LARGEST_FILE_BYTES
    network = build(read_config(BUNDLE), "network_def")
    network.load_state_dict(load_file(WEIGHTS), strict=True)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    count = sum(p.numel() for p in network.parameters())
    assert count == read_json("docs", "training.json")["parameters"]


def test_stock_monai_loads_the_weights_by_the_configuration_alone() -> None:
    config = read_config(BUNDLE)
    network = build({**config, "loaded": ["@load_weights", "@network"]}, "loaded")[1]
    name, value = next(iter(load_file(WEIGHTS).items()))
    assert torch.equal(network.state_dict()[name], value.float())


def test_the_measured_dice_reaches_the_targets() -> None:
    structures = read_json("docs", "evaluation.json")["structures"]
    assert structures.keys() == TARGETS.keys()
    for name, target in TARGETS.items():
        assert structures[name]["mean"] >= target


def test_the_means_follow_from_the_cases() -> None:
    evaluation = read_json("docs", "evaluation.json")
    assert evaluation["cases"] == len(evaluation["per_case"])
    for name, figures in evaluation["structures"].items():
        values = [scores[name] for scores in evaluation["per_case"].values()]
        assert np.mean(values) == pytest.approx(figures["mean"], abs=1e-4)
        assert np.median(values) == pytest.approx(figures["median"], abs=1e-4)
        assert min(values) == figures["min"]


def test_the_measure_belongs_to_the_weights_that_ship() -> None:
    digest = sha256(WEIGHTS.read_bytes()).hexdigest()
    assert read_json("docs", "evaluation.json")["weights_sha256"] == digest


def test_no_measured_case_was_trained_on() -> None:
    measured = set(read_json("docs", "evaluation.json")["per_case"])
    trained = set(read_json("docs", "training.json")["training_cases"])
    split = split_stems(measured | trained)
    assert set(split.held_out) == measured
    assert set(split.training) == trained


def test_the_card_and_the_metadata_say_what_the_measure_says() -> None:
    evaluation, card = read_json("docs", "evaluation.json"), (BUNDLE / "docs/README.md").read_text()
    sections = card_sections(evaluation, read_json("docs", "training.json"))
    assert fill_markers(card, sections) == card
    assert read_json("configs", "metadata.json")["eval_metrics"] == eval_metrics(evaluation)


def test_the_way_an_image_is_stored_did_not_change_the_measure() -> None:
    variants = read_json("docs", "evaluation.json")["stored_otherwise"]
    for name in TARGETS:
        means = [scores[name] for scores in variants.values()]
        assert max(means) - min(means) < 0.002


@pytest.mark.parametrize("axis_codes", ["LPS", "PIL", "LIP"])
def test_the_answer_lies_on_the_source_grid_however_it_is_turned(axis_codes: str) -> None:
    predict = bundle_predictor(BUNDLE, from_file=False)
    straight = predict(as_volume(a_crop(), np.eye(4)))
    array, affine = store_as(a_crop(), np.eye(4), axis_codes)
    turned = predict(as_volume(array, affine))
    expected, _ = store_as(straight, np.eye(4), axis_codes)
    assert turned.shape == array.shape
    assert np.mean(turned != expected) < 1e-3


def test_the_scale_of_the_stored_values_plays_no_part() -> None:
    predict = bundle_predictor(BUNDLE, from_file=False)
    straight = predict(as_volume(a_crop(), np.eye(4)))
    scaled = predict(as_volume(a_crop() * np.float32(0.25) - np.float32(1024), np.eye(4)))
    assert np.mean(straight != scaled) < 1e-3


def test_a_black_border_around_the_image_plays_no_part() -> None:
    predict = bundle_predictor(BUNDLE, from_file=False)
    straight = predict(as_volume(a_crop(), np.eye(4)))
    bordered = np.pad(a_crop(), 10, constant_values=a_crop().min())
    answer = predict(as_volume(bordered, np.eye(4)))
    assert answer.shape == bordered.shape
    assert np.mean(answer != np.pad(straight, 10)) < 1e-3


@pytest.mark.filterwarnings("ignore:Divide by zero")
def test_an_image_of_one_value_is_not_cut_to_nothing() -> None:
    predict = bundle_predictor(BUNDLE, from_file=False)
    image = np.full((30, 40, 30), 7, np.float32)
    assert predict(as_volume(image, np.eye(4))).shape == image.shape


@pytest.mark.parametrize("shape", [(9, 12, 7), (60, 30, 41)])
def test_any_size_of_image_is_answered_on_its_own_grid(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    predict = bundle_predictor(BUNDLE, from_file=False)
    assert predict(as_volume(image, np.diag([1.2, 0.9, 1.0, 1.0]))).shape == shape
