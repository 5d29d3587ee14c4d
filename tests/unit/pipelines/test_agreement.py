"""A model computes in reduced precision only where that was compared with float32."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from node.cli import app
from pipelines.acceptance import Acceptances, AcceptedModel, read_acceptances
from pipelines.agreement import classes_agreement, labels_agreement, required_agreements
from pipelines.errors import InvalidBundle
from pipelines.network_call import NetworkCall
from pipelines.precision_choice import agreed_precision
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.records import AlgorithmIdentity
from tests.unit.pipelines.definitions import definition, write_definition
from tests.unit.pipelines.threshold_bundle import write_bundle
from tests.unit.pipelines.volume_files import write_series

CPU = torch.device("cpu")
LOADED_HERE = {"_target_": "LoadImaged", "keys": "image"}
CHANNEL = {"_target_": "EnsureChannelFirstd", "keys": "image"}
RAS = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
ACCEPTED = AcceptedModel("two_levels", "d1", {}, "2026-01-01", "somebody", "passed")
NO_DEVICE = replace(ACCEPTED, agreements={"bfloat16": 0.999, "float16": 0.999})


def test_bfloat16_is_near_and_answers_in_float32() -> None:
    torch.manual_seed(4)
    network = torch.nn.Conv3d(1, 2, 3).eval()
    windows = torch.randn(1, 1, 8, 8, 8)
    network.requires_grad_(False)
    exact = NetworkCall(network, CPU, "float32")(windows)
    reduced = NetworkCall(network, CPU, "bfloat16")(windows)
    assert reduced.dtype is torch.float32
    assert 0 < float((exact - reduced).abs().max()) < 0.05
    assert torch.equal(NetworkCall(network, CPU, "float16")(windows), exact)


def test_the_structure_that_agrees_least_is_what_counts() -> None:
    exact = np.zeros((4, 10, 10), dtype=np.uint8)
    exact[:, :8], exact[0, 9, :4] = 1, 2
    reduced = exact.copy()
    reduced[0, 9, :2] = 0
    found = labels_agreement(exact, reduced, {1: "large", 2: "small", 3: "absent"})
    assert found is not None
    assert found.worst == "small"
    assert found.share == pytest.approx(2 / 3)
    assert labels_agreement(exact, reduced, {3: "absent"}) is None
    told = classes_agreement(np.asarray([0.2, 0.8]), np.asarray([0.25, 0.75]))
    assert told.share == pytest.approx(0.95)


def test_what_was_not_compared_or_agrees_too_little_is_refused() -> None:
    def require(wanted: str, *figures: float, on: str = "cpu") -> Mapping[str, float]:
        models = tuple(replace(ACCEPTED, agreements={"bfloat16": {on: one}}) for one in figures)
        on_record = Acceptances((ACCEPTED, NO_DEVICE, *models))
        return required_agreements(definition(precision=wanted), "d1", on_record)

    assert require("float32") == {}
    assert require("bfloat16", 0.5, 0.995, on="NVIDIA H200") == {"NVIDIA H200": 0.995}
    with pytest.raises(InvalidBundle, match="was not compared with float32 on a case"):
        require("bfloat16")
    with pytest.raises(InvalidBundle, match="precision float16 was not compared"):
        require("float16", 0.999)
    with pytest.raises(
        InvalidBundle, match=r"to 0\.9801 on cpu only, and least_agreement is 0\.99"
    ):
        require("bfloat16", 0.995, 0.9801)


@pytest.mark.parametrize(
    ("high", "least", "starts"), [(250, 0.99, True), (200, 0.99, False), (200, 0.6, True)]
)
def test_the_agreement_is_measured_when_a_model_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, high: int, least: float, starts: bool
) -> None:
    # 200 is above the threshold of 199.5; in bfloat16 the network's bias of -299 becomes -300.
    write_bundle(tmp_path / "models" / "two_levels", preprocessing=(LOADED_HERE, CHANNEL, RAS))
    (tmp_path / "definitions").mkdir()
    write_definition(tmp_path / "definitions", precision="bfloat16", least_agreement=least)
    stored = np.full((8, 16, 20), 50, dtype=np.uint16)
    stored[1:6, 2:9, 3:8], stored[5:7, 4:12, 10:16] = 150, 250
    stored[5, 4:12, 10:16] = high
    write_series(tmp_path / "study", stored)
    places = {"bundles_dir": "models", "definitions_dir": "definitions"}
    settings = {"node": {"data_dir": "data"}, "pipelines": {"enabled": ["two_levels"], **places}}
    (tmp_path / "node.yaml").write_text(json.dumps(settings))
    monkeypatch.setenv("RADNODE_CONFIG", str(tmp_path / "node.yaml"))

    accepted = CliRunner().invoke(app, ["model", "accept", "two_levels", str(tmp_path / "study")])
    assert accepted.exit_code == 0, accepted.output
    (model,) = read_acceptances(tmp_path / "data").models
    share = model.agreements_of("bfloat16")["cpu"]
    assert share == pytest.approx(1.0 if high == 250 else 2 / 3)
    assert f"agrees with float32 to {share:.4f}" in accepted.output
    run = ["run", "two_levels", str(tmp_path / "study"), "--out", str(tmp_path / "out")]
    assert (CliRunner().invoke(app, run).exit_code == 0) == starts


@pytest.mark.parametrize(
    ("measured", "told", "is_exact"),
    [
        (None, "cpu", False),
        ({"cpu": 0.99}, "cpu", False),
        ({"NVIDIA H200": 1.0}, "cpu, in float32 (bfloat16 was not compared on cpu)", True),
        (
            {"NVIDIA H200": 1.0, "cpu": 0.9801},
            "cpu, in float32 (bfloat16 agrees to 0.9801 only on cpu)",
            True,
        ),
    ],
    ids=["vouched for", "measured here", "measured elsewhere", "too little here"],
)
def test_what_another_device_showed_does_not_vouch_for_this_one(
    tmp_path: Path, measured: Mapping[str, float] | None, told: str, is_exact: bool
) -> None:
    # 200 is above the threshold of 199.5 in float32 alone.
    write_bundle(tmp_path / "models" / "two_levels", preprocessing=(LOADED_HERE, CHANNEL, RAS))
    stored = np.full((8, 16, 20), 50, dtype=np.uint16)
    stored[1:6, 2:9, 3:8], stored[5:7, 4:12, 10:16] = 150, 200
    write_series(tmp_path / "study", stored)
    registered = register(definition(precision="bfloat16"), tmp_path / "models")
    result = run_study(
        replace(registered, agreements=measured), tmp_path / "study", tmp_path / "out", device="cpu"
    )
    assert result.device == told
    assert [one.label_value for one in result.measurements if one.is_present] == (
        [1, 2] if is_exact else [1]
    )


def test_gpus_of_one_product_vouch_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    wanted = definition(precision="float16")
    algorithm = AlgorithmIdentity("Levels", "1", "d1", "2.25.1")
    registered = RegisteredPipeline(wanted, Path("levels"), "p1", "d1", algorithm)
    measured = replace(registered, agreements={"NVIDIA H200": 0.995})
    for index in (0, 1):
        assert agreed_precision(measured, torch.device("cuda", index)) == (measured, "")
    _, told = agreed_precision(replace(registered, agreements={"cpu": 1.0}), torch.device("cuda:1"))
    assert told == ", in float32 (float16 was not compared on NVIDIA H200)"
    # A CPU computes float16 as float32 anyway: nobody has to know.
    assert agreed_precision(measured, CPU) == (measured, "")
