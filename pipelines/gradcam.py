"""Grad-CAM of a classifier (monai.visualize), on the network's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.visualize import GradCAM, GradCAMpp
from monai.visualize.visualizer import default_upsampler
from torch import nn

from pipelines.bundle import LoadedBundle
from pipelines.class_windows import class_windows
from pipelines.classifying import Judge
from pipelines.errors import InferenceFailed, InvalidBundle
from pipelines.explanation_schema import Explanation
from pipelines.inference import NOT_FINITE
from pipelines.map_on_source import TEXT, told_explaining
from pipelines.network_call import contiguous

METHODS = {"auto": GradCAM, "gradcam": GradCAM, "gradcam++": GradCAMpp}
NAMES = {"auto": "Grad-CAM", "gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}


class Explainer:
    """Makes the maps of one preprocessed image; the warm network itself stays untouched.

    Of a classifier that goes in windows, each gets its map, weighted by its probability of the
    class; where they overlap, the greater value counts. Raises `InvalidBundle` when the network or
    the layer cannot be looked into.
    """

    def __init__(self, data: dict[str, Any], judge: Judge, how: Explanation) -> None:
        bundle = judge.bundle
        _refuse_opaque(bundle)
        self._judge, self._how = judge, how
        # A copy: MONAI leaves its hooks on the network.
        self._network = contiguous(deepcopy(bundle.network))
        for module in self._network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]
        image = data[bundle.metadata.input_key]
        batch = torch.as_tensor(image.as_tensor(), dtype=torch.float32)[None]
        self._batch = batch.to(bundle.device).contiguous()
        self._windows = class_windows(self._batch, bundle.inferer) if judge.windows else None
        first = self._windows.at(self._windows.places[0]) if self._windows else self._batch
        with told_explaining(bundle, "the network cannot be looked into"):
            shapes = map_shapes(self._network, first.contiguous())
        self.layer = how.layer or found_layer(shapes)
        if self.layer not in shapes:
            raise InvalidBundle(f"{TEXT}{_no_such_layer(self.layer, shapes)}")
        self.map_shape = shapes[self.layer]

    @property
    def method(self) -> str:
        """The method as people write it."""
        return NAMES[self._how.method]

    @property
    def means(self) -> str:
        """Where in the network it looked, for people."""
        return f"at layer {self.layer}"

    def network_map(self, output: int, channels: slice | None = None) -> torch.Tensor:
        """What the network's `output` hangs on, [x, y(, z)] of its own grid, 0 to 1.

        All channels have one map: layers that look at places have put them together.
        """
        del channels
        with told_explaining(self._judge.bundle, "the gradients break"), torch.enable_grad():
            values = self._of_windows(output) if self._windows else self._raw(self._batch, output)
        if not bool(torch.isfinite(values).all()):
            raise InferenceFailed(NOT_FINITE)
        return values / float(values.max().clamp(min=torch.finfo(torch.float32).tiny))

    def _raw(self, batch: torch.Tensor, output: int) -> torch.Tensor:
        """The map of one image or window [x, y(, z)], at the size that the gradients have."""
        cam = METHODS[self._how.method](
            self._network, self.layer, upsampler=default_upsampler, postprocessing=_as_it_is
        )
        # Weights need no gradient; the image does, so that it flows through every layer.
        found: torch.Tensor = cam(batch.clone().requires_grad_(True), class_idx=output)
        return found.detach()[0, 0].float().cpu()

    def _of_windows(self, output: int) -> torch.Tensor:
        if self._windows is None:
            raise ValueError("the network sees the whole image")
        shares = self._judge.of_windows(self._batch)[:, output].float()
        canvas = torch.zeros(self._windows.image.shape[2:])
        for place, share in zip(self._windows.places, shares, strict=True):
            values = share * self._raw(self._windows.at(place).contiguous(), output)
            canvas[place] = torch.maximum(canvas[place], self._windows.put_back(values))
        return self._windows.without_padding(canvas, tuple(self._batch.shape[2:]))


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
            f"{TEXT}a TorchScript network cannot be looked into; use `method: occlusion`"
        )
    if not isinstance(bundle.inferer, SimpleInferer | SlidingWindowInferer):
        name = type(bundle.inferer).__name__
        raise InvalidBundle(f"{TEXT}the network is run by {name}; use `method: occlusion`")


def _no_such_layer(layer: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    last = ", ".join(list(shapes)[-5:]) or "none"
    return f"layer {layer} answers no map of the image; the last that do: {last}"
