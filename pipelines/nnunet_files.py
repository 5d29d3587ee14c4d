"""A result folder of nnU-Net v2, read without torch: plans.json, dataset.json, folds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.bundle_metadata import BundleInput, BundleMetadata
from pipelines.errors import InvalidBundle

PLANS, DATASET = "plans.json", "dataset.json"
IMAGE = "image"


def is_nnunet_folder(folder: Path) -> bool:
    """Whether the folder is what nnU-Net's training leaves."""
    return (folder / PLANS).is_file() and (folder / DATASET).is_file()


def read_json(path: Path) -> Any:
    """Read one of the folder's files. Raises `InvalidBundle`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"{path}: cannot be read ({type(error).__name__}); fetch the folder again"
        raise InvalidBundle(text) from error


def folds(folder: Path) -> tuple[Path, ...]:
    """The checkpoints, one of each fold: the final one, else the best.

    Raises `InvalidBundle` when there is none.
    """
    found = []
    for fold in sorted(folder.glob("fold_*")):
        names = ("checkpoint_final.pth", "checkpoint_best.pth")
        found += [fold / name for name in names if (fold / name).is_file()][:1]
    if not found:
        raise InvalidBundle(f"{folder}: no fold_*/checkpoint_final.pth; fetch the folder again")
    return tuple(found)


def nnunet_metadata(folder: Path) -> BundleMetadata:
    """What a bundle's metadata would say. Raises `InvalidBundle`."""
    path = folder / DATASET
    dataset, plans = read_json(path), read_json(folder / PLANS)
    folds(folder)
    try:
        names = dataset.get("channel_names", dataset.get("modality"))
        channels = {int(index): str(name) for index, name in names.items()}
        labels = _labels(dataset)
        first = str(channels.get(0, "")).upper()
        return BundleMetadata(
            name=str(plans.get("dataset_name", folder.name)),
            version=str(dataset.get("release", "1")),
            input_key=IMAGE,
            input_channels=len(channels),
            channels=labels,
            inputs=(BundleInput(IMAGE, len(channels), channels, "CT" if "CT" in first else "MR"),),
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        text = f"{path}: no usable {error}; it must give channel_names and labels"
        raise InvalidBundle(text) from None


def _labels(dataset: dict[str, Any]) -> dict[int, str]:
    """Label values by meaning; of regions (lists of labels) the value that is written for each.

    Regions are written over each other in `regions_class_order`, the whole before its parts.
    """
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    order = iter(dataset.get("regions_class_order") or ())
    if not any(isinstance(value, list) for value in labels.values()):
        return {int(value): name for name, value in labels.items()}
    values = {0: "background"}
    for name, value in labels.items():
        if value not in (0, [0]):
            values[int(next(order))] = name
    return values
