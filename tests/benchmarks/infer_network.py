"""The network of the inference benchmark: seeded random weights, and a last layer that is fitted.

With a random last layer labels would lie in the air, too, and no result would pass its proof. Here
air is background, and the levels of the soft tissue are the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.networks.nets import UNet
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import avg_pool3d, max_pool3d, one_hot, pad

LOWEST_HU, HIGHEST_HU = -57.0, 164.0
"""The window that preprocessing scales to 0..1."""

NETWORK: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
TAPS = 3
MOST_SAMPLES = 12_000
RIDGE = 1e-2
WINDOW = 64
NEAR = 6  # voxels
AIR_AROUND = 16
TO_SPARE = 0.5


def fitted_network(classes: int, examples: NDArray[np.int16]) -> UNet:
    """A network for `classes`, from the values [slice, row, column] of a CT.

    The same arguments give the same weights.
    """
    torch.manual_seed(classes)
    network = UNet(out_channels=classes, **NETWORK)
    image = _scaled(examples)
    with torch.inference_mode():
        _settle_norms(network, image)
        features: list[torch.Tensor] = []
        hook = _last(network).register_forward_pre_hook(lambda _, given: features.append(given[0]))
        network.eval()(image)
        hook.remove()
        _fit(_last(network), features[0], _levels(image, classes))
        _keep_out_of_air(network, image)
    return network


def _scaled(values: NDArray[np.int16]) -> torch.Tensor:
    middle = [slice((n - min(n, WINDOW)) // 2, (n + min(n, WINDOW)) // 2) for n in values.shape]
    middle[-1] = slice(0, WINDOW)  # with air beside the body
    part = values[tuple(middle)].transpose(2, 1, 0).astype(np.float32)
    scaled = torch.from_numpy((part - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU)).clamp(0, 1)
    short = [AIR_AROUND + (-n) % 16 for n in scaled.shape]
    return pad(scaled, [side for n in reversed(short) for side in (AIR_AROUND, n)])[None, None]


def _last(network: UNet) -> nn.Conv3d:
    found = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    return found[-1]


def _settle_norms(network: UNet, image: torch.Tensor) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = None  # running figures are those of the example
    network.train()(image)


def _levels(image: torch.Tensor, classes: int) -> torch.Tensor:
    smooth = avg_pool3d(image, TAPS, stride=1, padding=TAPS // 2)[0, 0]
    level = 1 + (smooth * (classes - 1)).floor().clamp(0, classes - 2)
    return torch.where(smooth > 1 / classes, level, torch.zeros_like(level)).long()


def _fit(layer: nn.Conv3d, features: torch.Tensor, levels: torch.Tensor) -> None:
    """Least squares; the layer's input is added to its output."""
    classes = features.shape[1]
    places = torch.randperm(levels.numel())[:MOST_SAMPLES]
    columns = torch.stack(
        [
            part.flatten(1)[:, places]
            for part in _neighbours(pad(features[0], [1] * 6), levels.shape)
        ],
        dim=1,
    ).flatten(0, 1)
    columns = torch.cat([columns, torch.ones(1, len(places))]).double()
    wanted = 8 * one_hot(levels.flatten()[places], classes).T.double()
    wanted -= features[0].flatten(1)[:, places].double()
    square = columns @ columns.T
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    solved = torch.linalg.solve(square, columns @ wanted.T).T.float()
    layer.weight.copy_(solved[:, :-1].reshape(layer.weight.shape))
    _bias(layer).copy_(solved[:, -1])


def _bias(layer: nn.Conv3d) -> torch.Tensor:
    assert layer.bias is not None
    return layer.bias


def _keep_out_of_air(network: UNet, image: torch.Tensor) -> None:
    """Raise the background until nothing else wins far from the body, nor in windows of air."""
    is_air = max_pool3d(image, 2 * NEAR + 1, stride=1, padding=NEAR)[0, 0] == 0
    for given, where in ((image, is_air), (torch.zeros_like(image), torch.ones_like(is_air))):
        answer = network(given)[0][:, where]
        missing = (answer[1:].amax(0) - answer[0]).max()
        _bias(_last(network))[0] += missing.clamp_min(0) + TO_SPARE


def _neighbours(padded: torch.Tensor, shape: torch.Size) -> list[torch.Tensor]:
    x, y, z = shape
    taps = range(TAPS)
    return [padded[:, i : i + x, j : j + y, k : k + z] for i in taps for j in taps for k in taps]
