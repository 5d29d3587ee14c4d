from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet
from safetensors.torch import load_file

from pipelines.training.datasets import TrainingVolume
from pipelines.training.errors import TrainingError
from pipelines.training.export import export_weights, load_weights
from pipelines.training.trainer import TrainingPlan, learning_rate_factor, train

PATCH = (8, 16, 8)
PLAN = TrainingPlan(iterations=2, early_patch=PATCH, full_patch=PATCH, report_every=1)


def a_network(filters: int = 8) -> SegResNet:
    torch.manual_seed(0)
    norm = ("INSTANCE", {"affine": True})
    return SegResNet(3, filters, 1, 3, norm=norm, blocks_down=(1, 1), blocks_up=(1,))


def volumes() -> list[TrainingVolume]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 10, 14, 9, generator=generator)
    label = (image[0] > 0.5).to(torch.uint8)
    return [TrainingVolume(f"case_{number}", image, label) for number in range(3)]


def test_two_iterations_move_the_weights_and_are_reported() -> None:
    network = a_network()
    said: list[str] = []
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = train(network, volumes(), PLAN, report=said.append)
    assert result.record["iterations"] == 2
    assert result.record["training_cases"] == ["case_0", "case_1", "case_2"]
    assert len(said) == 2
    assert any(not torch.equal(before[name], result.state[name]) for name in before)
    assert all(bool(torch.isfinite(value).all()) for value in result.state.values())


def test_one_seed_and_one_number_of_iterations_give_the_same_weights() -> None:
    first, second = (
        train(a_network(), volumes(), PLAN, report=lambda _: None).state for _ in range(2)
    )
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_training_limited_by_time_ends() -> None:
    plan = TrainingPlan(minutes=0.002, early_patch=PATCH, full_patch=PATCH)
    assert train(a_network(), volumes(), plan).record["iterations"] >= 1


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    factors = [learning_rate_factor(step / 100, 0.1) for step in range(101)]
    assert factors[0] < 0.05
    assert factors[10] == max(factors) == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)


def test_exported_weights_loaded_twice_give_identical_outputs(tmp_path: Path) -> None:
    path = tmp_path / "models" / "model.safetensors"
    state = train(a_network(), volumes(), PLAN, report=lambda _: None).state
    assert export_weights(state, path) == path.stat().st_size
    first, second = a_network().eval(), a_network().eval()
    load_weights(first, path)
    second.load_state_dict(load_file(path))  # as stock MONAI does
    image = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        assert torch.equal(first(image), second(image))


def test_weights_are_half_on_disk_and_single_in_the_network(tmp_path: Path) -> None:
    network, path = a_network(), tmp_path / "model.safetensors"
    export_weights(network.state_dict(), path)
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    load_weights(network, path)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="training diverged"):
        export_weights({"weight": torch.tensor([float("nan")])}, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_a_bundle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fewer filters"):
        export_weights({"weight": torch.zeros(4_100_000)}, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network_are_refused_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    export_weights(a_network().state_dict(), path)
    with pytest.raises(TrainingError, match=r"model\.safetensors does not fit network_def"):
        load_weights(a_network(filters=16), path)
    with pytest.raises(TrainingError, match="is missing"):
        load_weights(a_network(), tmp_path / "absent.safetensors")
