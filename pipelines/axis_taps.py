"""Where linear or nearest sampling along one axis reads: at most two places, with their weights.

Grids whose axes are parallel can be resampled axis by axis. The places are asked of MONAI's own
resampling on a ramp along one axis, so that its conventions (`align_corners`, padding, rounding
of halves) are met by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.networks.layers import AffineTransform

NOISE = 1e-9


@dataclass(frozen=True, eq=False)
class AxisTaps:
    """For each index of the grid asked for: `(1 - fraction) * at[lower] + fraction * at[upper]`.

    All of shape [n] on the CPU. `scale` multiplies the sum; it is below 1 where the answer counts
    as 0 outside of its grid.
    """

    lower: torch.Tensor
    upper: torch.Tensor
    fraction: torch.Tensor
    scale: torch.Tensor

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def is_single(self) -> bool:
        """Whether each index reads one place at most, and that as it is."""
        return bool((self.fraction == 0).all() and ((self.scale == 1) | (self.scale == 0)).all())

    @property
    def is_partial(self) -> torch.Tensor:
        """Where the answer fades to nothing; bool [n]."""
        return (self.scale > 0) & (self.scale < 1)

    def weights(self) -> torch.Tensor:
        """Of `lower` and `upper`, [n, 2]."""
        return torch.stack([1 - self.fraction, self.fraction], dim=1) * self.scale[:, None]

    def as_tuples(self) -> list[tuple[int, int, float, float]]:
        """(lower, upper, fraction, scale) of each index."""
        return list(zip(*(part.tolist() for part in self._parts), strict=True))

    def moved(self, by: int) -> AxisTaps:
        """Taps of a grid whose first place is at `-by`."""
        return replace(self, lower=self.lower + by, upper=self.upper + by)

    def at(self, index: torch.Tensor) -> AxisTaps:
        """The taps of some indices."""
        return AxisTaps(*(part[index] for part in self._parts))

    def flipped(self) -> AxisTaps:
        """The same axis run through from its end."""
        return AxisTaps(*(part.flip(0) for part in self._parts))

    def surrounded(self, before: int, after: int) -> AxisTaps:
        """With indices before and after that read nothing; negative counts cut."""
        start, stop = max(-before, 0), len(self) - max(-after, 0)
        padding = [max(before, 0), max(after, 0)]
        return AxisTaps(
            *(torch.nn.functional.pad(part[start:stop], padding) for part in self._parts)
        )

    def resampled(self, by: AxisTaps) -> AxisTaps | None:
        """Taps of `by`, which reads the grid of this one; None if four places would be read."""
        if not self.is_single:
            return None
        low, high = self.at(by.lower), self.at(by.upper)
        below = (1 - by.fraction) * low.scale
        above = by.fraction * high.scale
        total = below + above
        return AxisTaps(
            lower=torch.where(low.scale > 0, low.lower, high.lower),
            upper=torch.where(high.scale > 0, high.lower, low.lower),
            fraction=torch.where(total > 0, above / total.clamp_min(torch.finfo().tiny), total),
            scale=total * by.scale,
        )

    def ascending(self) -> AxisTaps:
        """The same taps with `lower <= upper`."""
        swapped = self.lower > self.upper
        return AxisTaps(
            lower=torch.where(swapped, self.upper, self.lower),
            upper=torch.where(swapped, self.lower, self.upper),
            fraction=torch.where(swapped, 1 - self.fraction, self.fraction),
            scale=self.scale,
        )

    @property
    def _parts(self) -> tuple[torch.Tensor, ...]:
        return self.lower, self.upper, self.fraction, self.scale


def identity_taps(count: int) -> AxisTaps:
    """Each index reads its own place."""
    index = torch.arange(count)
    zeros = torch.zeros(count, dtype=torch.float64)
    return AxisTaps(index, index, zeros, torch.ones_like(zeros))


def sampled_taps(
    *,
    source: int,
    count: int,
    step: float,
    start: float,
    settings: dict[str, Any],
    dtype: torch.dtype = torch.float64,
) -> AxisTaps:
    """Taps of MONAI's resampling of `source` places at `start + step * index`, in voxels.

    `settings` are `mode`, `padding_mode` and `align_corners` as the transform recorded them. The
    arithmetic is that of `dtype`: which of two equally near places is taken depends on it.
    """
    ramp = torch.arange(1, source + 1, dtype=dtype)
    image = torch.stack([torch.ones_like(ramp), ramp])[None, :, :, None, None]
    theta = torch.eye(4, dtype=dtype)
    theta[0, 0], theta[0, 3] = step, start
    resample = AffineTransform(spatial_size=(count, 1, 1), **settings)
    weight, moment = resample(image, theta)[0, :, :, 0, 0].double()
    weight = _without_noise(weight)
    there = weight > 0
    position = torch.where(there, moment / weight.clamp_min(torch.finfo().tiny) - 1, weight)
    position = _without_noise(position.clamp(0, source - 1))
    lower = position.floor().long()
    return AxisTaps(
        lower=lower,
        upper=(lower + 1).clamp_max(source - 1),
        fraction=position - lower,
        scale=torch.where(there, weight, torch.zeros_like(weight)),
    )


def interpolated_taps(
    *, source: int, count: int, mode: str, align_corners: bool | None
) -> AxisTaps:
    """Taps of torch's interpolation of `source` places to `count`.

    `mode` is linear, nearest or nearest-exact; `align_corners` goes with linear alone.
    """
    ramp = torch.arange(source, dtype=torch.float64)[None, None]
    asked = torch.nn.functional.interpolate(ramp, count, mode=mode, align_corners=align_corners)
    position = _without_noise(asked[0, 0].clamp(0, source - 1))
    lower = position.floor().long()
    return AxisTaps(
        lower=lower,
        upper=(lower + 1).clamp_max(source - 1),
        fraction=position - lower,
        scale=torch.ones_like(position),
    )


def _without_noise(position: torch.Tensor) -> torch.Tensor:
    whole = position.round()
    return torch.where((position - whole).abs() < NOISE, whole, position)
