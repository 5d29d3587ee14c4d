"""Normalisation over volumes that lie channels last, without torch's loss of accuracy.

torch's kernels for that layout on a CPU add up a channel value by value in float32: those of group
normalisation, and of batch normalisation by the batch's own statistics. Over millions of voxels,
most of them one value as in a padded window, mean and variance come out wrong: answers differ by
tenths from those in the usual layout, and by the number of threads as well. Here they are gathered
block by block, and the blocks joined in float64 (Chan, Golub and LeVeque 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

VALUES_OF_A_BLOCK = 1 << 20
"""As many as the caches of a CPU hold."""

VOLUMES = 5  # batch, channel and three axes
Statistics = tuple[torch.Tensor, torch.Tensor]
Normalised = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

OPS = torch.ops.aten
TAKEN_APART = frozenset(
    {OPS.group_norm.default, OPS.batch_norm.default, OPS._batch_norm_impl_index.default}
)
"""They come as they are in inference mode alone."""


class ExactNorms(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, normalisation of volumes on the CPU is as exact as in the usual layout.

    Whoever asks for it: a layer, a function, a compiled module. Everything else is left to torch.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch's own hook: else it loads its compiler, to be told that nothing is compiled."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch for each operation."""
        if func in TAKEN_APART:
            with self:
                return func.decompose(*args, **(kwargs or {}))
        if func is OPS.native_group_norm.default and _lies_channels_last(args[0]):
            volumes, weight, bias, _, _, _, groups, eps = args
            return group_norm(volumes, weight, bias, groups, eps)
        if func is OPS.native_batch_norm.default and _lies_channels_last(args[0]):
            volumes, weight, bias, running_mean, _, by_batch, _, eps = args
            if by_batch and running_mean is None:
                return batch_norm(volumes, weight, bias, eps)
        return func(*args, **(kwargs or {}))


def group_norm(
    volumes: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    groups: int,
    eps: float,
) -> Normalised:
    """What `aten::native_group_norm` gives for volumes [item, channel, x, y, z], channels last.

    The result in the same layout and type, and mean and reciprocal deviation [item, group].
    """
    rows = volumes.permute(0, 2, 3, 4, 1).flatten(1, 3)
    result = torch.empty_like(rows)
    means, deviations = [], []
    for one, target in zip(rows, result, strict=True):
        mean, deviation = _of_groups(_of_channels(one), groups, eps)
        _normalise(one, target, mean, deviation, weight, bias)
        means.append(mean)
        deviations.append(deviation)
    shaped = result.reshape(len(rows), *volumes.shape[2:], -1).permute(0, 4, 1, 2, 3)
    kept = rows.dtype if weight is None else weight.dtype
    return shaped, torch.stack(means).to(kept), torch.stack(deviations).to(kept)


def batch_norm(
    volumes: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> Normalised:
    """What `aten::native_batch_norm` gives by the statistics of the batch itself.

    The result in the layout and type of `volumes`, and mean and reciprocal deviation [channel].
    """
    rows = volumes.permute(0, 2, 3, 4, 1)
    as_one = rows.flatten(0, 1)[None].permute(0, 4, 1, 2, 3)
    result, mean, deviation = group_norm(as_one, weight, bias, volumes.shape[1], eps)
    each = result[0].permute(1, 2, 3, 0).view(rows.shape)
    return each.permute(0, 4, 1, 2, 3), mean[0], deviation[0]


def _lies_channels_last(volumes: torch.Tensor) -> bool:
    return (
        volumes.device.type == "cpu"
        and volumes.ndim == VOLUMES
        and volumes.numel() > 0
        and volumes.is_floating_point()
        and volumes.is_contiguous(memory_format=torch.channels_last_3d)
    )


def _blocks(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    step = max(1, VALUES_OF_A_BLOCK // rows.shape[1])
    return (rows[at : at + step] for at in range(0, len(rows), step))


def _of_channels(rows: torch.Tensor) -> Statistics:
    """Mean and variance of each channel of [voxel, channel], float64."""
    count = 0
    mean = torch.zeros(rows.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for block in _blocks(rows):
        values = block if block.dtype == torch.float64 else block.float()
        own = values.mean(0)
        off = own.double() - mean
        total = count + len(block)
        squares += (values - own).square_().sum(0).double() + off**2 * (count * len(block) / total)
        mean += off * (len(block) / total)
        count = total
    return mean, squares / count


def _of_groups(channels: Statistics, groups: int, eps: float) -> Statistics:
    """Mean and reciprocal deviation of each group, of its channels' means and variances."""
    means, variances = (one.reshape(groups, -1) for one in channels)
    mean = means.mean(1)
    variance = (variances + (means - mean[:, None]) ** 2).mean(1)
    return mean, (variance + eps).rsqrt()


def _normalise(
    rows: torch.Tensor,
    target: torch.Tensor,
    mean: torch.Tensor,
    deviation: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> None:
    each = rows.shape[1] // len(mean)
    scale = deviation.repeat_interleave(each)
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.repeat_interleave(each) * scale
    if bias is not None:
        shift = shift + bias.double()
    exact = torch.float64 if rows.dtype == torch.float64 else torch.float32
    for block, place in zip(_blocks(rows), _blocks(target), strict=True):
        place.copy_(torch.addcmul(shift.to(exact), block.to(exact), scale.to(exact)))
