"""The eight voxels around each place between two planes, and their weights."""

from __future__ import annotations

import torch

from pipelines.axis_taps import AxisTaps


class PlaneCorners:
    """The four voxels around each place of a plane [y, z], found once for all planes.

    `row_length` is the network grid's count along z.
    """

    def __init__(self, y: AxisTaps, z: AxisTaps, row_length: int, device: torch.device) -> None:
        rows = torch.stack([y.lower, y.upper], dim=1) * row_length
        columns = torch.stack([z.lower, z.upper], dim=1)
        index = rows[:, None, :, None] + columns[None, :, None, :]
        weights = y.weights()[:, None, :, None] * z.weights()[None, :, None, :]
        self._index = index.reshape(-1, 4).to(device)
        self._weights = weights.reshape(-1, 4).float().to(device)

    def of(
        self,
        places: torch.Tensor,
        plane_size: int,
        planes: tuple[int, int],
        fraction_and_scale: tuple[float, float],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices into the voxels of a block of planes, and weights, both [place, 8].

        `places` are flat indices of the plane [y, z] that lies between two `planes`.
        """
        fraction, scale = fraction_and_scale
        index, weights = self._index[places], self._weights[places]
        lower, upper = (plane * plane_size for plane in planes)
        both = torch.cat([index + lower, index + upper], dim=1)
        return both, torch.cat(
            [weights * ((1 - fraction) * scale), weights * (fraction * scale)], 1
        )
