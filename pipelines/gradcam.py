"""Grad-CAM of a classifier (monai.visualize), brought back to the grid of the source images.

The map is made on the network's own grid and taken back by the inverse of the bundle's
preprocessing, which is MONAI's, so that it lies where the pixels came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Compose, Invertd
from monai.visualize import GradCAM, GradCAMpp
from monai.visualize.visualizer import default_upsampler
from numpy.typing import NDArray
from torch import nn

from pipelines.bundle import LoadedBundle
from pipelines.errors import DeviceOutOfMemory, InferenceFailed, InvalidBundle, PipelineError
from pipelines.explanation_schema import Explanation
from pipelines.inference import NOT_FINITE
from pipelines.network_call import contiguous
from pipelines.projection_views import turn_of
from pipelines.series_volume import SeriesVolume

METHODS = {"gradcam": GradCAM, "gradcam++": GradCAMpp}
NAMES = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}
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


class Explainer:
    """Makes the maps of one preprocessed image; the warm network itself stays untouched.

    Raises `InvalidBundle` when the network or the layer cannot be looked into, or the
    preprocessing cannot be undone.
    """

    def __init__(self, data: dict[str, Any], bundle: LoadedBundle, how: Explanation) -> None:
        _refuse_opaque(bundle)
        self._data, self._bundle, self._how = data, bundle, how
        # A copy: MONAI leaves its hooks on the network.
        self._network = contiguous(deepcopy(bundle.network))
        for module in self._network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]
        image = data[bundle.metadata.input_key]
        batch = torch.as_tensor(image.as_tensor(), dtype=torch.float32)[None]
        self._batch = batch.to(bundle.device).contiguous()
        with _told(bundle, "the network cannot be looked into"):
            shapes = map_shapes(self._network, self._batch)
        self.layer = how.layer or found_layer(shapes)
        if self.layer not in shapes:
            raise InvalidBundle(f"{TEXT}{_no_such_layer(self.layer, shapes)}")
        self.map_shape = shapes[self.layer]

    @property
    def method(self) -> str:
        """The method as people write it."""
        return NAMES[self._how.method]

    def network_map(self, output: int) -> torch.Tensor:
        """What the network's `output` hangs on, [x, y(, z)] of its own grid, 0 to 1."""
        with _told(self._bundle, "the gradients break"), torch.enable_grad():
            cam = METHODS[self._how.method](
                self._network, self.layer, upsampler=default_upsampler, postprocessing=_as_it_is
            )
            # Weights need no gradient; the image does, so that it flows through every layer.
            found = cam(self._batch.clone().requires_grad_(True), class_idx=output)
        values: torch.Tensor = found.detach()[0, 0].float().cpu()
        if not bool(torch.isfinite(values).all()):
            raise InferenceFailed(NOT_FINITE)
        return values / float(values.max().clamp(min=torch.finfo(torch.float32).tiny))

    def source_map(self, output: int, source: SeriesVolume) -> NDArray[np.float32]:
        """The same on the grid of the (upright) `source`, [slice, row, column]."""
        return on_source(self.network_map(output), self._data, self._bundle, source)


def on_source(
    values: torch.Tensor, data: Mapping[str, Any], bundle: LoadedBundle, source: SeriesVolume
) -> NDArray[np.float32]:
    """Values of the network's grid [x, y(, z)] on that of `source`, [slice, row, column].

    Voxels that the network never saw are 0.
    """
    key = bundle.metadata.input_key
    image: MetaTensor = data[key]
    back = Invertd(keys=MAP, transform=bundle.preprocessing, orig_keys=key, nearest_interp=False)
    with _told(bundle, "the bundle's preprocessing cannot be undone"):
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


def map_shapes(network: nn.Module, batch: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Layers that answer a map of the image, in the order in which they do, and its size.

    Only layers that run once: of one that is used twice, gradient and answer would not be of the
    same use.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    uses: dict[str, int] = {}

    def look(name: str) -> Any:
        def hook(module: nn.Module, given: Any, answer: Any) -> None:
            uses[name] = uses.get(name, 0) + 1
            if isinstance(answer, torch.Tensor) and answer.ndim == batch.ndim:
                shapes[name] = tuple(answer.shape[2:])

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in network.named_modules()]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: s for name, s in shapes.items() if name and uses[name] == 1 and max(s) > 1}


def found_layer(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The last layer that still answers a map. Raises `InvalidBundle` when there is none."""
    if not shapes:
        raise InvalidBundle(f"{TEXT}no layer of the network answers a map of the image")
    return list(shapes)[-1]


def _as_it_is(values: torch.Tensor) -> torch.Tensor:
    return values


def _refuse_opaque(bundle: LoadedBundle) -> None:
    if isinstance(bundle.network, torch.jit.ScriptModule):
        raise InvalidBundle(
            f"{TEXT}a TorchScript network cannot be looked into; use a bundle whose network_def "
            "and weights are separate"
        )
    if not isinstance(bundle.inferer, SimpleInferer):
        name = type(bundle.inferer).__name__
        raise InvalidBundle(f"{TEXT}the network is run by {name}, not on the whole image at once")
    if not isinstance(bundle.preprocessing, Compose):
        raise InvalidBundle(f"{TEXT}the bundle's preprocessing cannot be undone (no Compose)")


def _no_such_layer(layer: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    last = ", ".join(list(shapes)[-5:]) or "none"
    return f"layer {layer} answers no map of the image; the last that do: {last}"


@contextmanager
def _told(bundle: LoadedBundle, what: str) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(f"out of memory on {bundle.device} for an explanation") from error
    except BROKEN as error:
        raise InvalidBundle(f"{TEXT}{what} ({type(error).__name__})") from error
