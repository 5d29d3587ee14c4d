"""Read what a bundle's own files say, so that training sees what inference will see."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from pipelines.training.errors import TrainingError

INFERENCE_FILE = Path("configs", "inference.json")
METADATA_FILE = Path("configs", "metadata.json")
WEIGHTS_FILE = Path("models", "model.safetensors")
CARD_FILE = Path("docs", "README.md")
EVALUATION_FILE = Path("docs", "evaluation.json")
TRAINING_FILE = Path("docs", "training.json")


def read_config(bundle_dir: Path) -> dict[str, Any]:
    """Return the inference configuration of a bundle as plain data, its root filled in."""
    path = bundle_dir / INFERENCE_FILE
    if not path.is_file():
        raise TrainingError(f"{path} is missing: --bundle must name a MONAI bundle's folder")
    config: dict[str, Any] = ConfigParser.load_config_file(path)
    config["bundle_root"] = str(bundle_dir)
    return config


def build(config: dict[str, Any], name: str) -> Any:
    """Return the object that the configuration calls `name`, made by MONAI's parser."""
    parser = ConfigParser(deepcopy(config))
    parser["device"] = torch.device("cpu")
    return parser.get_parsed_content(name)


def without(config: dict[str, Any], *targets: str) -> dict[str, Any]:
    """Return a copy whose pre- and postprocessing lack the transforms named in `targets`."""
    copy = deepcopy(config)
    for chain in ("preprocessing", "postprocessing"):
        kept = [t for t in copy[chain]["transforms"] if t["_target_"] not in targets]
        copy[chain]["transforms"] = kept
    return copy
