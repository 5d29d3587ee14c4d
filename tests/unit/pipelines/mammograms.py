"""Four views of a mammography made up for the tests, and classifiers for one and for all four."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from tests.unit.pipelines.bright_spot import BRIGHT, write_bright_spot
from tests.unit.pipelines.classifier_bundle import ACTIVATION, CHANNEL, LOAD
from tests.unit.pipelines.classifier_bundle import classes as two_classes
from tests.unit.pipelines.classifier_bundle import metadata as volume_metadata
from tests.unit.pipelines.projections import saved, x_ray
from tests.unit.pipelines.threshold_bundle import FLOAT, write_json

VIEWS = {"rcc": ("R", "CC"), "lcc": ("L", "CC"), "rmlo": ("R", "MLO"), "lmlo": ("L", "MLO")}
CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
NUMBERS = {role: number for number, role in enumerate(VIEWS, start=1)}
SHAPES = {"rcc": (40, 30), "lcc": (42, 28), "rmlo": (44, 32), "lmlo": (38, 30)}
BREAST = {"value": "76752008", "scheme": "SCT", "meaning": "Breast"}
GRID = (32, 32)


def breast(role: str, spot: tuple[slice, slice] | None = None) -> NDArray[np.uint16]:
    """Stored values [row, column] below BRIGHT, but for a spot."""
    generator = np.random.default_rng(NUMBERS[role])
    pixels = generator.integers(0, 150, SHAPES[role]).astype(np.uint16)
    if spot is not None:
        pixels[spot] = 1500
    return pixels


def mammogram(role: str, spot: tuple[slice, slice] | None = None, **attributes: Any) -> Dataset:
    """One view, a series of its own, coded and named as devices do."""
    side, position = VIEWS[role]
    view = Dataset()
    view.CodeValue, view.CodeMeaning = CODES[position]
    view.CodingSchemeDesignator = "SCT"
    told: dict[str, Any] = {
        "SOPClassUID": DigitalMammographyXRayImageStorageForPresentation,
        "SeriesInstanceUID": f"2.25.3001.{NUMBERS[role]}",
        "SeriesNumber": NUMBERS[role],
        "Modality": "MG",
        "BodyPartExamined": "BREAST",
        "ImageLaterality": side,
        "ViewPosition": position,
        "ViewCodeSequence": [view],
        "PatientOrientation": ["P", "L"] if side == "R" else ["A", "R"],
        "OrganExposed": "BREAST",
    }
    pixels = attributes.pop("pixels", breast(role, spot))
    given = {**told, **attributes}
    left_out = {name for name in told if given[name] is None}
    kept = {name: value for name, value in given.items() if name not in left_out}
    return x_ray(pixels, NUMBERS[role], **kept)


def write_mammography(
    folder: Path, spots: dict[str, tuple[slice, slice]] | None = None, **changed: Any
) -> None:
    """All four; `changed` gives attributes of a view by its role."""
    for role in VIEWS:
        image = mammogram(role, (spots or {}).get(role), **changed.get(role, {}))
        saved(image, folder / f"{role}.dcm")


def inputs(*roles: str, **changes: Any) -> dict[str, Any]:
    """The inputs of a definition, in the order of `roles`."""
    return {
        role: {
            "kind": "projection",
            "where": [{"tag": "Modality", "equals": "MG"}],
            "views": [VIEWS[role][1].lower()],
            "laterality": VIEWS[role][0],
            **changes,
        }
        for role in roles or VIEWS
    }


def classes(*points: float) -> dict[str, Any]:
    """Changes of a definition: cyst (bright spots) and mass of the breast."""
    return two_classes(*points, anatomic_region=BREAST)


def resized() -> dict[str, Any]:
    return {
        "_target_": "Resized",
        "keys": "image",
        "spatial_size": list(GRID),
        "mode": "nearest",
    }


def write_one_view(folder: Path) -> Path:
    """A classifier of one picture, which hangs on bright pixels."""
    return write_bright_spot(folder, dimensions=2, preprocessing=[LOAD, CHANNEL, resized(), FLOAT])


def write_four_views(folder: Path, order: tuple[str, ...], weights: tuple[float, ...]) -> Path:
    """One that takes all four as channels in this order, each of another weight."""
    layers = (
        "torch.nn.Conv2d(4, 4, 1, groups=4), torch.nn.ReLU(inplace=True), "
        "torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)"
    )
    config = {
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network_def": f"$torch.nn.Sequential({layers})",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [LOAD, CHANNEL, resized(), FLOAT],
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [ACTIVATION]},
    }
    told = volume_metadata()
    told["network_data_format"]["inputs"]["image"] = {
        "num_channels": 4,
        "spatial_shape": list(GRID),
        "modality": "MG",
        "channel_def": {str(index): role.upper() for index, role in enumerate(order)},
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    write_json(folder / "configs" / "inference.json", config)
    write_json(folder / "configs" / "metadata.json", told)
    linear = torch.zeros(3, 4)
    linear[1] = torch.tensor(weights)
    state = {
        "0.weight": torch.ones(4, 1, 1, 1),
        "0.bias": torch.full((4,), -BRIGHT),
        "4.weight": linear,
        "4.bias": torch.zeros(3),
    }
    torch.save(state, folder / "models" / "model.pt")
    return folder
