"""Runs a bundle's network on its preprocessed image, with the bundle's own inferer."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor

from pipelines.bundle import LoadedBundle
from pipelines.errors import InferenceFailed


def infer(data: dict[str, Any], bundle: LoadedBundle) -> MetaTensor:
    """The network's answer [channel, x, y, z] on the grid of the preprocessed image.

    Raises `InferenceFailed` when the network breaks (memory, shapes) or answers with values
    that are not numbers.
    """
    image = data[bundle.metadata.input_key]
    batch = torch.as_tensor(image.as_tensor(), dtype=torch.float32, device=bundle.device)[None]
    try:
        with torch.inference_mode():
            answer = bundle.inferer(inputs=batch, network=bundle.network)
    except torch.OutOfMemoryError as error:
        text = f"out of memory on {bundle.device} for an image of {tuple(batch.shape[1:])}"
        raise InferenceFailed(text) from error
    except (RuntimeError, ValueError, TypeError) as error:
        text = f"the network broke on an image of {tuple(batch.shape[1:])}"
        raise InferenceFailed(f"{text} ({type(error).__name__})") from error
    if not isinstance(answer, torch.Tensor):
        raise InferenceFailed(f"the network answered a {type(answer).__name__}, not a tensor")
    if not bool(torch.isfinite(answer).all()):
        raise InferenceFailed("the network answered values that are not finite")
    return MetaTensor(answer[0].detach().clone(), meta=image.meta)
