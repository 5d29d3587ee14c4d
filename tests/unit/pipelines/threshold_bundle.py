"""A MONAI bundle whose answer is known: label 1 from 100 up, label 2 from 200 up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

LOAD = {"_target_": "LoadImaged", "keys": "image", "reader": "AReaderThatIsNotInstalled"}
CHANNEL = {"_target_": "EnsureChannelFirstd", "keys": "image"}
RAS = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
FLOAT = {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
INVERT = {
    "_target_": "Invertd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
    "nearest_interp": False,
}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "/nowhere"}
CENTRE = (1, 1, 1)


def spacing(*mm: float) -> dict[str, Any]:
    return {"_target_": "Spacingd", "keys": "image", "pixdim": list(mm), "mode": "bilinear"}


def write_bundle(
    folder: Path,
    *,
    preprocessing: Sequence[dict[str, Any]] = (LOAD, CHANNEL, RAS, FLOAT),
    postprocessing: Sequence[dict[str, Any]] = (INVERT, ARGMAX, SAVE),
    neighbour: tuple[int, int, int] = CENTRE,
    weights: str = "model.safetensors",
    **changes: Any,
) -> Path:
    """Write the bundle; its network labels each voxel by the value of one `neighbour`.

    `neighbour` is the place in a 3x3x3 kernel along the axes the network sees: (2, 1, 1) is
    the next voxel along the first axis.
    """
    config: dict[str, Any] = {
        "bundle_root": ".",
        "device": "$torch.device('cuda:7')",
        "dataset_dir": "/nowhere",
        "network_def": {
            "_target_": "torch.nn.Conv3d",
            "in_channels": 1,
            "out_channels": 3,
            "kernel_size": 3,
            "padding": 1,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": list(preprocessing)},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": list(postprocessing)},
        "run": ["$1 / 0"],
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "docs").mkdir()
    write_json(folder / "configs" / "inference.json", {**config, **changes})
    write_json(folder / "configs" / "metadata.json", metadata())
    _write_weights(folder / "models" / weights, neighbour)
    return folder


def metadata(**channels: str) -> dict[str, Any]:
    """What the bundle says of itself; `channels` such as c0="background" replace the three."""
    named = {key.removeprefix("c"): text for key, text in channels.items()}
    return {
        "name": "Two levels",
        "version": "0.1.0",
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1}},
            "outputs": {
                "pred": {"channel_def": named or {"0": "background", "1": "low", "2": "high"}}
            },
        },
    }


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_weights(path: Path, neighbour: tuple[int, int, int]) -> None:
    weight = torch.zeros(3, 1, 3, 3, 3)
    weight[1][0][neighbour], weight[2][0][neighbour] = 1.0, 2.0
    state = {"weight": weight, "bias": torch.tensor([0.0, -99.5, -299.0])}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state}, path)
