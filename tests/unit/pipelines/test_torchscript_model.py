"""TorchScript files: with a bundle's configuration inside, or told by a few lines of definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import save_net_with_metadata

from pipelines.definition import load_definition
from pipelines.definition_schema import Precision
from pipelines.errors import InvalidBundle
from pipelines.inference import infer
from pipelines.labels import OverlappingLabels, mask_of
from pipelines.model_check import checked_model
from pipelines.model_loading import load_model
from pipelines.preprocessing import preprocessed
from pipelines.registry import register
from pipelines.restore import restored_label_map
from pipelines.run import run_study
from storage.records import Outcome
from tests.unit.pipelines.definitions import definition, values, write_definition
from tests.unit.pipelines.label_map_cases import axial
from tests.unit.pipelines.threshold_bundle import metadata, write_bundle
from tests.unit.pipelines.volume_files import write_series

NETWORK: dict[str, Any] = {
    "labels": {0: "background", 1: "low", 2: "high"},
    "orientation": "LAS",
    "patch_size": [16, 16, 16],
    "intensity": [{"range": [0, 400], "to": [0, 400]}],
}


def script(path: Path, weights: list[float], bias: list[float]) -> Path:
    """A network that scores each voxel by its own value."""
    layer = torch.nn.Conv3d(1, len(weights), 1)
    with torch.no_grad():
        layer.weight[:, 0, 0, 0, 0] = torch.tensor(weights)
        layer.bias[:] = torch.tensor(bias)  # type: ignore[index]
    torch.jit.trace(layer, torch.zeros(1, 1, 4, 4, 4)).save(str(path))  # type: ignore[no-untyped-call]
    return path


def levels() -> Any:
    voxels = np.full((6, 12, 14), 50)
    voxels[1:3, 2:6, 3:8] = 150
    voxels[3:5, 4:8, 9:12] = 250
    return voxels


def labels(folder: Path, network: dict[str, Any], changes: dict[str, Any] | None = None) -> Any:
    registered = register(definition(network=network, **changes or {}), folder)
    bundle = load_model(registered, torch.device("cpu"))
    source = axial(levels())
    data = preprocessed({"image": source}, bundle)
    return restored_label_map(data, infer(data, bundle), source, bundle)


def test_a_few_lines_make_a_torchscript_file_a_model(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [0.0, 1.0, 2.0], [0.0, -99.5, -299.0])
    found = labels(tmp_path, NETWORK)
    assert np.array_equal(found, np.digitize(levels(), [100, 200]))


def test_a_sigmoid_head_gives_labels_that_overlap(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [1.0, 1.0], [-99.5, -199.5])
    found = labels(
        tmp_path, {**NETWORK, "labels": {0: "bright", 1: "brightest"}, "output": "sigmoid"}
    )
    assert isinstance(found, OverlappingLabels)
    assert np.array_equal(mask_of(found, 1), levels() >= 100)
    assert np.array_equal(mask_of(found, 2), levels() >= 200)


def test_overlapping_segments_are_written_proved_and_measured(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [1.0, 1.0], [-99.5, -199.5])
    network = {**NETWORK, "labels": {0: "bright", 1: "brightest"}, "output": "sigmoid"}
    path = write_definition(tmp_path, network=network)
    write_series(tmp_path / "in", levels().astype(np.uint16))
    result = run_study(path, tmp_path / "in", tmp_path / "out", device="cpu", bundles_dir=tmp_path)
    assert result.outcome is Outcome.FINDINGS
    assert [round(m.value, 3) for m in result.measurements] == [0.064, 0.024]


def neighbour_script(path: Path) -> Path:
    """A network that scores each voxel by the value of its next neighbour along the first axis."""
    layer = torch.nn.Conv3d(1, 3, (3, 1, 1), padding=(1, 0, 0))
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[1, 0, 2] = 1.0
        layer.bias[:] = torch.tensor([0.0, -99.5, -1.0])  # type: ignore[index]
    torch.jit.trace(layer, torch.zeros(1, 1, 4, 4, 4)).save(str(path))  # type: ignore[no-untyped-call]
    return path


@pytest.mark.parametrize(
    ("orientation", "axis", "shift"), [("SPL", 0, -1), ("ALI", 1, 1), ("LIA", 2, -1), ("RSA", 2, 1)]
)
def test_the_network_gets_its_axes_in_the_order_that_it_was_trained_on(
    tmp_path: Path, orientation: str, axis: int, shift: int
) -> None:
    neighbour_script(tmp_path / "two_levels.ts")
    network = {"labels": {0: "background", 1: "bright", 2: "none"}, "orientation": orientation}
    found = labels(tmp_path, network)
    assert np.array_equal(found > 0, np.roll(levels() > 100, shift, axis))


def test_labels_of_a_resized_image_come_back_to_where_it_was(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [1.0], [-140.0])
    network: dict[str, Any] = {"labels": {0: "bright"}, "output": "sigmoid"}
    network |= {"resize": [24, 8, 18], "orientation": "IPL"}
    found = labels(tmp_path, network, {"segments": [values()["segments"][0]]})
    # By hand: slices run to the head, so that they are turned on the way there and back.
    image = torch.from_numpy(levels()[::-1].copy())[None, None].float()
    small = torch.nn.functional.interpolate(image, (24, 8, 18), mode="trilinear")
    back = torch.nn.functional.interpolate(
        torch.sigmoid(small - 140), levels().shape, mode="trilinear"
    )
    assert np.array_equal(mask_of(found, 1), (back[0, 0] >= 0.5).numpy()[::-1])


@pytest.mark.parametrize(
    ("network", "there"),
    [
        ({"labels": {0: "bright"}, "output": "sigmoid"}, "there are 1 bright"),
        ({"labels": {0: "air", 1: "body"}}, "there are 0 air, 1 body"),
    ],
)
def test_a_label_value_that_the_network_never_gives_is_told(
    tmp_path: Path, network: dict[str, Any], there: str
) -> None:
    script(tmp_path / "two_levels.ts", [1.0], [-140.0])
    with pytest.raises(InvalidBundle, match=rf"\[2\], which network.labels .*{there}"):
        labels(tmp_path, network)


def test_percentiles_are_those_of_the_image(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [0.0, 1.0, 2.0], [0.0, -0.25, -1.0])
    network = {**NETWORK, "intensity": [{"percentiles": [0, 100], "to": [0, 1]}]}
    found = labels(tmp_path, network)
    assert np.array_equal(found, np.digitize(levels(), [100, 200]))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"orientation": "RLS"}, "one letter each"),
        ({"resize": [32, 32]}, "resize has 3 edges"),
        ({"intensity": [{"percentiles": [99, 1]}]}, "percentiles: the lower limit"),
        ({"intensity": [{"percentiles": [1, 99], "zscore": "all"}]}, "exactly one"),
    ],
)
def test_a_network_that_cannot_be_so_is_told(network: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        definition(network={**NETWORK, **network})


def test_a_file_without_a_configuration_needs_those_lines(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [0.0, 1.0, 2.0], [0.0, -99.5, -299.0])
    with pytest.raises(InvalidBundle, match="`network`"):
        register(definition(), tmp_path)


def test_a_file_with_its_configuration_inside_is_a_bundle(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "folder")
    config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    path = script(tmp_path / "plain.ts", [0.0, 1.0, 2.0], [0.0, -99.5, -299.0])
    save_net_with_metadata(
        torch.jit.load(str(path)),  # type: ignore[no-untyped-call]
        str(tmp_path / "two_levels.ts"),
        meta_values=metadata(),
        more_extra_files={"inference.json": json.dumps(config).encode()},
    )
    written = load_definition(write_definition(tmp_path))
    registered = register(written, tmp_path, tmp_path / "unpacked")
    loaded = load_model(registered, torch.device("cpu"))
    source = axial(levels())
    data = preprocessed({"image": source}, loaded)
    found = restored_label_map(data, infer(data, loaded), source, loaded)
    assert np.array_equal(np.asarray(found), np.digitize(levels(), [100, 200]))


def test_labels_with_a_gap_are_told() -> None:
    with pytest.raises(ValueError, match="without a gap"):
        definition(network={"labels": {0: "background", 2: "x"}})


def test_a_check_of_a_torchscript_file_runs_it(tmp_path: Path) -> None:
    script(tmp_path / "two_levels.ts", [0.0, 1.0, 2.0], [0.0, -99.5, -299.0])
    write_series(tmp_path / "in", levels().astype(np.uint16))
    wanted: Precision = "bfloat16"
    registered = register(definition(network=NETWORK), tmp_path)
    checked = checked_model(registered, tmp_path / "in", "cpu", [wanted])
    assert (checked.failure, checked.voxels) == ("", {"Low": 40, "High": 24})
    assert checked.agreements["bfloat16"].share > 0.9
    assert checked.memory is not None
    assert checked.memory.window_mib is None
