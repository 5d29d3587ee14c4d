"""A MONAI bundle that judges the whole image: a small DenseNet with seeded random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import DenseNet

from tests.unit.pipelines.definitions import ANATOMY, LIVER
from tests.unit.pipelines.threshold_bundle import FLOAT, RAS, write_json

NETWORK: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "init_features": 8,
    "growth_rate": 4,
    "block_config": [2, 2],
    "bn_size": 2,
}
ACTIVATION: dict[str, Any] = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
LOAD: dict[str, Any] = {"_target_": "LoadImaged", "keys": "image"}
CHANNEL = {"_target_": "EnsureChannelFirstd", "keys": "image"}
SCALE = {"_target_": "ScaleIntensityd", "keys": "image"}
NAMES = {"0": "nothing", "1": "cyst", "2": "mass"}


def write_classifier(folder: Path, *, seed: int = 5, **changes: Any) -> Path:
    """Write the bundle; `changes` replace parts of its configuration."""
    pre: list[dict[str, Any]] = [LOAD, CHANNEL, RAS, SCALE, FLOAT]
    pre.append({"_target_": "Resized", "keys": "image", "spatial_size": [32, 32, 32]})
    config = {
        "imports": ["$import monai", "$import glob"],
        "bundle_root": ".",
        "dataset_dir": "/nowhere",
        "output_dir": "/nowhere",
        "device": "$torch.device('cpu')",
        "network_def": {"_target_": "DenseNet", **NETWORK},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": pre},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': p} for p in sorted(glob.glob(@dataset_dir + '/*.nii'))]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [ACTIVATION]},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            },
            {
                "_target_": "ClassificationSaver",
                "output_dir": "@output_dir",
                "batch_transform": "$lambda batch: [one['image'].meta for one in batch]",
                "output_transform": "$monai.handlers.from_engine(['pred'])",
            },
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    write_json(folder / "configs" / "inference.json", {**config, **changes})
    write_json(folder / "configs" / "metadata.json", metadata())
    torch.manual_seed(seed)
    network = DenseNet(**NETWORK)
    torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    return folder


def metadata() -> dict[str, Any]:
    pred = {"type": "probabilities", "format": "classes", "channel_def": NAMES}
    image = {"num_channels": 1, "spatial_shape": [32, 32, 32]}
    return {
        "name": "Tiny classifier",
        "version": "0.1.0",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }


def classes(*points: float, **changes: Any) -> dict[str, Any]:
    """Changes of a definition: cyst and mass, with these operating points."""
    codes = {
        "Cyst": {"value": "367643001", "scheme": "SCT", "meaning": "Cyst"},
        "Mass": {"value": "4147007", "scheme": "SCT", "meaning": "Mass"},
    }
    described = [
        {
            "output": output,
            "label": label,
            "tracking_id": label.lower(),
            "category": ANATOMY,
            "type": codes[label],
            "anatomic_region": LIVER,
            "operating_point": point,
            **changes,
        }
        for output, label, point in zip((1, 2), codes, points, strict=True)
    ]
    return {"bundle": "tiny", "segments": [], "classes": described}
