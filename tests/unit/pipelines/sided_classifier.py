"""A classifier whose answer hangs on the left half of the upright picture alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.unit.pipelines.bright_spot import write_bright_spot

ROWS, COLUMNS = 20, 16
SCALE = 0.01


def write_sided(folder: Path, dropout: float = 0.0, **changes: Any) -> Path:
    """Write the bundle: the logit of output 1 is SCALE times the mean of the left half."""
    layers = f"torch.nn.Flatten(), torch.nn.Dropout({dropout}), torch.nn.Linear({ROWS * COLUMNS},3)"
    network = f"$torch.nn.Sequential({layers})"
    write_bright_spot(folder, dimensions=2, network_def=network, **changes)
    weight = torch.zeros(3, COLUMNS, ROWS)
    weight[1, : COLUMNS // 2] = SCALE / (ROWS * COLUMNS // 2)
    state = {"2.weight": weight.flatten(1), "2.bias": torch.zeros(3)}
    torch.save(state, folder / "models" / "model.pt")
    return folder


def halves(left: int, right: int) -> NDArray[np.uint16]:
    """A picture [row, column] of two grey halves."""
    pixels = np.full((ROWS, COLUMNS), right, dtype=np.uint16)
    pixels[:, : COLUMNS // 2] = left
    return pixels


def certainty_of(left: int) -> float:
    """Softmax of output 1 beside two of 0, 0 to 1."""
    return float(np.exp(SCALE * left) / (np.exp(SCALE * left) + 2))
