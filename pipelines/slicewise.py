"""A bundle for single slices, made to run on volumes.

Its data loader would load one slice a file, [x, y]; its network, transforms and inferer know two
axes. Each slice of the volume goes through all of them for itself, and the answers are stacked.
Bundles whose inferer goes through a volume by itself (`SliceInferer`) are left as they are.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from torch import nn

from pipelines.bundle import LoadedBundle
from pipelines.channel_roles import is_colour

FLAT_WEIGHT, VOLUME_WEIGHT = 4, 5
SLICES = "slices_of_the_volume"
ANSWER = "pred"
VOLUME_AFFINE = "affine_of_the_volume"


def fit_for_volumes(bundle: LoadedBundle) -> LoadedBundle:
    """The same bundle; one for single slices that outlines structures, slice by slice."""
    is_whole = bundle.metadata.kind == "classification" or isinstance(bundle.inferer, SliceInferer)
    if is_whole or not is_flat(bundle.network):
        return bundle
    slices = _Slices(bundle)
    return replace(
        bundle,
        preprocessing=slices.prepared,
        inferer=slices.inferred,
        postprocessing=slices.processed,
    )


def is_flat(network: nn.Module) -> bool:
    """Whether a network convolves flat images, and no volumes."""
    edges = {weight.ndim for weight in network.parameters()}
    return FLAT_WEIGHT in edges and VOLUME_WEIGHT not in edges


@dataclass(frozen=True, eq=False)
class _Slices:
    bundle: LoadedBundle

    def prepared(self, data: dict[str, Any]) -> dict[str, Any]:
        """Each slice prepared; the image is their stack [channel, x, y, slice]."""
        key = self.bundle.metadata.input_key
        count = next(iter(data.values())).shape[-1]
        slices = [
            self.bundle.prepared({name: self._slice(one, n) for name, one in data.items()})
            for n in range(count)
        ]
        stack = torch.stack([one[key].as_tensor() for one in slices], dim=-1)
        return {**data, key: MetaTensor(stack), SLICES: slices}

    def inferred(self, inputs: torch.Tensor, network: Any, *more: Any, **named: Any) -> Any:
        """The answer [1, channel, x, y, slice] to the stack."""
        answers = [
            self.bundle.inferer(inputs=one, network=network) for one in inputs.unbind(dim=-1)
        ]
        return torch.stack(answers, dim=-1)

    def processed(self, data: dict[str, Any]) -> dict[str, Any]:
        """Each slice's answer postprocessed, stacked on the grid that the volume came in."""
        key = self.bundle.metadata.input_key
        found = []
        for number, one in enumerate(data[SLICES]):
            values = data[ANSWER].as_tensor()[..., number]
            answer = MetaTensor(values, meta=deepcopy(one[key].meta))
            found.append(self.bundle.postprocessing({**one, ANSWER: answer})[ANSWER])
        stack = torch.stack([torch.as_tensor(one.as_tensor()) for one in found], dim=-1)
        affine = data[SLICES][0][key].meta[VOLUME_AFFINE]
        return {**data, ANSWER: MetaTensor(stack, affine=torch.as_tensor(affine))}

    def _slice(self, volume: MetaTensor, number: int) -> MetaTensor:
        """One slice as MONAI loads a picture or a slice of its own: [x, y], channels last."""
        array, channel_dim = volume.as_tensor()[..., number], float("nan")
        if array.ndim > 2 and is_colour(self.bundle.metadata) and self.bundle.adds_channel:
            array, channel_dim = array.movedim(0, -1), -1
        elif array.ndim > 2:
            channel_dim = 0
        spacing = np.linalg.norm(np.asarray(volume.affine)[:3, :2], axis=0)
        affine = torch.diag(torch.as_tensor([*spacing, 1.0, 1.0], dtype=torch.float64))
        meta = {
            "original_channel_dim": channel_dim,
            "original_affine": affine.clone(),
            "spatial_shape": np.asarray(volume.shape[-3:-1]),
            "space": "RAS",
            "filename_or_obj": "image",
            VOLUME_AFFINE: np.asarray(volume.affine),
        }
        return MetaTensor(array.contiguous(), affine=affine, meta=meta)
