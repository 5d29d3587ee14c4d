"""Values on the network's own grid, brought back to that of the source images.

By MONAI's inverse of the bundle's preprocessing, so that they lie where the pixels came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.errors import DeviceOutOfMemory, InvalidBundle, PipelineError
from pipelines.projection_views import turn_of
from pipelines.series_volume import SeriesVolume

MAP = "explanation_map"
TEXT = "explanation: "
BROKEN = (
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def on_source(
    values: torch.Tensor,
    data: Mapping[str, Any],
    bundle: LoadedBundle,
    source: SeriesVolume,
    *,
    key: str,
) -> NDArray[np.float32]:
    """Values of the network's grid [x, y(, z)] on that of `source`, [slice, row, column].

    `data[key]` is what the bundle's preprocessing made of the source. Voxels that the network never
    saw are 0. Raises `InvalidBundle` where there is no way back.
    """
    if not isinstance(bundle.preprocessing, Compose):
        raise InvalidBundle(f"{TEXT}the bundle's preprocessing cannot be undone (no Compose)")
    image: MetaTensor = data[key]
    back = Invertd(keys=MAP, transform=bundle.preprocessing, orig_keys=key, nearest_interp=False)
    with told_explaining(bundle, "the bundle's preprocessing cannot be undone"):
        placed = back({**data, MAP: MetaTensor(values[None], meta=deepcopy(image.meta))})[MAP]
    array: NDArray[Any] = placed.as_tensor().detach().cpu().numpy()[0]
    found = array.transpose()
    if source.is_projection:
        found = turn_of(source.source.first).back(found)[np.newaxis]
    if found.shape != source.voxels.shape:
        text = f"{TEXT}the way back ends at {found.shape}, not at {source.voxels.shape}"
        raise InvalidBundle(text)
    clipped: NDArray[np.float32] = np.clip(found, 0.0, 1.0).astype(np.float32)
    return clipped


@contextmanager
def told_explaining(bundle: LoadedBundle, what: str) -> Iterator[None]:
    """Translate what a network raises that is looked into, and a chain that is undone."""
    try:
        yield
    except PipelineError:
        raise
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(f"out of memory on {bundle.device} for an explanation") from error
    except BROKEN as error:
        raise InvalidBundle(f"{TEXT}{what} ({type(error).__name__})") from error
