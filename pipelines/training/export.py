"""Write and read a bundle's weights: half precision on disk, single precision in the network."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.training.errors import TrainingError

LARGEST_FILE_BYTES = 8_000_000


def export_weights(state: dict[str, Tensor], path: Path) -> int:
    """Write `state` as float16 safetensors; return the file's size in bytes."""
    half = {name: _to_half(name, value) for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_file(half, unfinished, metadata={"format": "pt"})
    size = unfinished.stat().st_size
    if size > LARGEST_FILE_BYTES:
        unfinished.unlink()
        raise TrainingError(
            f"the weights take {size} bytes, a bundle may hold "
            f"{LARGEST_FILE_BYTES}: give network_def fewer filters"
        )
    unfinished.replace(path)  # a reader sees the old weights or the new ones, never half of them
    return size


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights strictly; the network keeps its own precision (values are cast on copying)."""
    if not path.is_file():
        raise TrainingError(f"{path} is missing: train first, or fetch the bundle again")
    try:
        network.load_state_dict(load_file(path), strict=True)
    except RuntimeError as error:
        raise TrainingError(f"{path} does not fit network_def: {error}") from error


def _to_half(name: str, value: Tensor) -> Tensor:
    half = value.detach().cpu().to(torch.float16).contiguous()
    if not bool(torch.isfinite(half).all()):
        raise TrainingError(
            f"weight {name} is not a finite number in float16: training diverged, "
            "lower the learning rate"
        )
    return half
