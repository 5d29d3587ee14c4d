"""A classifier whose heat map is known: it hangs on bright voxels, each for itself.

Its only layers before the pooling look at single voxels, so that the map of a mirrored or turned
image is the mirrored or turned map, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.unit.pipelines.classifier_bundle import ACTIVATION, CHANNEL, LOAD, classes
from tests.unit.pipelines.classifier_bundle import metadata as volume_metadata
from tests.unit.pipelines.threshold_bundle import FLOAT, RAS, write_json

BRIGHT = 300.0
"""Values above it speak for the class of output 1, in proportion; all others do not."""


def write_bright_spot(
    folder: Path,
    *,
    dimensions: int = 3,
    preprocessing: Sequence[dict[str, Any]] | None = None,
    **changes: Any,
) -> Path:
    """Write the bundle."""
    chain = list(preprocessing or ([LOAD, CHANNEL, RAS, FLOAT] if dimensions == 3 else _flat()))
    layers = (
        f"torch.nn.Conv{dimensions}d(1, 1, 1), torch.nn.ReLU(inplace=True), "
        f"torch.nn.AdaptiveAvgPool{dimensions}d(1), torch.nn.Flatten(), torch.nn.Linear(1, 3)"
    )
    config = {
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network_def": f"$torch.nn.Sequential({layers})",
        "preprocessing": {"_target_": "Compose", "transforms": chain},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [ACTIVATION]},
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    write_json(folder / "configs" / "inference.json", {**config, **changes})
    write_json(folder / "configs" / "metadata.json", volume_metadata())
    torch.save(bright_spot_state(dimensions), folder / "models" / "model.pt")
    return folder


def bright_spot_state(dimensions: int) -> dict[str, torch.Tensor]:
    """The weights of the network."""
    return {
        "0.weight": torch.ones(1, 1, *[1] * dimensions),
        "0.bias": torch.tensor([-BRIGHT]),
        "4.weight": torch.tensor([[-1.0], [1.0], [0.0]]),
        "4.bias": torch.zeros(3),
    }


def _flat() -> list[dict[str, Any]]:
    return [LOAD, CHANNEL, FLOAT]


def explained_classes(*points: float, **explanation: Any) -> dict[str, Any]:
    """Changes of a definition: cyst (bright spots) and mass, with heat maps."""
    return {**classes(*points), "explanation": {"method": "gradcam", **explanation}}
