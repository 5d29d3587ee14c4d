"""From a preprocessed image to labels on the source grid: inference and restoring, interleaved.

Where the bundle's postprocessing and its spatial transforms are of the kinds known here, planes
of the answer are decided and forgotten as the windows finish them. Otherwise the whole answer is
kept, and the bundle's own postprocessing runs on it: correct, with its time and memory. The stage
times tell which way was taken (`restore`, or `restore_by_bundle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.answer_chain import ANSWER_KEY, Activation, AnswerChain, answer_chain
from pipelines.bundle import LoadedBundle
from pipelines.definition_schema import Precision
from pipelines.errors import InferenceFailed
from pipelines.grid_inverse import GridInverse, grid_inverse
from pipelines.inference import answer_planes, told_errors
from pipelines.label_decision import checked_label_map
from pipelines.labels import Labels, OverlappingLabels
from pipelines.preprocessing import affine_ras
from pipelines.restore import labels_after, restored_label_map, told_postprocessing
from pipelines.restored_grid import BITS, MOST_CHANNELS_OF_A_CODE, RestoredGrid
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes

BY_BUNDLE = "restore_by_bundle"


@dataclass(frozen=True, slots=True)
class Effort:
    """How a network is run: its precision, and the most windows at once (None: the bundle's).

    `watched` sees the slabs of the network's answer as they go by, and gives them on.
    """

    precision: Precision = "float32"
    window_batch: int | None = None
    watched: Callable[[Iterator[torch.Tensor]], Iterator[torch.Tensor]] = iter


@dataclass(frozen=True, eq=False)
class _KnownWay:
    chain: AnswerChain
    inverse: GridInverse


def segmented(
    data: dict[str, Any],
    bundle: LoadedBundle,
    source: SeriesVolume,
    times: StageTimes,
    effort: Effort | None = None,
) -> Labels:
    """Labels [slice, row, column] on the grid of `source`, of preprocessed `data`.

    Raises `InferenceFailed` when the network or the postprocessing breaks, or answers what are
    no labels; its kinds `DeviceOutOfMemory` and `DeviceLost` say that of the device.
    """
    effort = effort or Effort()
    with torch.inference_mode():
        planes = effort.watched(answer_planes(data, bundle, effort.precision, effort.window_batch))
        way = _known_way(data, bundle, source)
        if way is None:
            answer = _whole(planes, data, bundle, times)
            with times.stage(BY_BUNDLE):
                return restored_label_map(data, answer, source, bundle)
        grids, channels = _restored(planes, way, times, data, bundle)
        with times.stage("restore"):
            return _labels(grids, channels, way.chain, data, source, bundle)


def _known_way(
    data: dict[str, Any], bundle: LoadedBundle, source: SeriesVolume
) -> _KnownWay | None:
    chain = answer_chain(bundle.postprocessing)
    if chain is None or (chain.threshold is not None and chain.activation is Activation.SOFTMAX):
        return None
    image = data.get(chain.image_key)
    if not isinstance(image, MetaTensor):
        return None
    inverse = grid_inverse(image, nearest=chain.nearest)
    if inverse is None or inverse.shape != source.voxels.shape[::-1]:
        return None
    return _KnownWay(chain, inverse)


def _restored(
    planes: Iterator[torch.Tensor],
    way: _KnownWay,
    times: StageTimes,
    data: dict[str, Any],
    bundle: LoadedBundle,
) -> tuple[list[RestoredGrid], int]:
    grids: list[RestoredGrid] = []
    channels = 0
    while (slab := _next(planes, times)) is not None:
        with times.stage("restore"), told_errors(bundle, data[bundle.metadata.input_key][None]):
            if not grids:
                channels = slab.shape[-1]
                grids = _grids(way, channels)
            for grid, part in zip(grids, _groups(slab, way.chain), strict=True):
                grid.add(part)
    if not grids:
        raise InferenceFailed("the network answered nothing")
    return grids, channels


def _grids(way: _KnownWay, channels: int) -> list[RestoredGrid]:
    if way.chain.threshold is None:
        return [RestoredGrid(way.inverse, way.chain, channels)]
    starts = range(0, channels, MOST_CHANNELS_OF_A_CODE)
    counts = [min(MOST_CHANNELS_OF_A_CODE, channels - start) for start in starts]
    return [RestoredGrid(way.inverse, way.chain, count) for count in counts]


def _groups(slab: torch.Tensor, chain: AnswerChain) -> tuple[torch.Tensor, ...]:
    if chain.threshold is None:
        return (slab,)
    return tuple(torch.split(slab, MOST_CHANNELS_OF_A_CODE, dim=-1))


def _next(planes: Iterator[torch.Tensor], times: StageTimes) -> torch.Tensor | None:
    with times.stage("inference"):
        return next(planes, None)


def _whole(
    planes: Iterator[torch.Tensor], data: dict[str, Any], bundle: LoadedBundle, times: StageTimes
) -> MetaTensor:
    image = data[bundle.metadata.input_key]
    answer: torch.Tensor | None = None
    filled = 0
    while (slab := _next(planes, times)) is not None:
        if answer is None:
            answer = slab.new_empty((slab.shape[-1], image.shape[1], *slab.shape[1:3]))
        answer[:, filled : filled + len(slab)] = slab.permute(3, 0, 1, 2)
        filled += len(slab)
    if answer is None:
        raise InferenceFailed("the network answered nothing")
    return MetaTensor(answer, meta=image.meta)


def _labels(
    grids: list[RestoredGrid],
    channels: int,
    chain: AnswerChain,
    data: dict[str, Any],
    source: SeriesVolume,
    bundle: LoadedBundle,
) -> Labels:
    codes = (
        torch.cat([grid.finished() for grid in grids]) if len(grids) > 1 else grids[0].finished()
    )
    is_map = chain.threshold is None or channels == 1
    if chain.tail:
        return _after_tail(codes, channels, chain, data, source, bundle)
    if is_map:
        return checked_label_map(_value_map(codes), bundle)
    if not bundle.metadata.has_background:
        return OverlappingLabels(np.ascontiguousarray(codes.permute(0, 3, 2, 1).numpy()))
    return labels_after(_meta(_channels(codes, channels), source), source, bundle)


def _value_map(codes: torch.Tensor) -> NDArray[Any]:
    """Label values [slice, row, column] of codes [byte, column, row, slice]."""
    low = codes[0].permute(2, 1, 0).numpy()
    if len(codes) == 1:
        return np.ascontiguousarray(low)
    high = codes[1].permute(2, 1, 0).numpy().astype(np.uint16)
    return np.ascontiguousarray(low | (high << np.uint16(BITS)))


def _after_tail(
    codes: torch.Tensor,
    channels: int,
    chain: AnswerChain,
    data: dict[str, Any],
    source: SeriesVolume,
    bundle: LoadedBundle,
) -> Labels:
    if chain.threshold is None:
        decided = torch.from_numpy(_value_map(codes)).permute(2, 1, 0)[None].float()
    else:
        decided = _channels(codes, channels).float()
    processed = {**data, ANSWER_KEY: _meta(decided, source)}
    with told_postprocessing(bundle):
        for step in chain.tail:
            processed = step(processed)
    return labels_after(processed[ANSWER_KEY], source, bundle)


def _channels(codes: torch.Tensor, channels: int) -> torch.Tensor:
    """0 or 1 [channel, column, row, slice], uint8."""
    return torch.stack([(codes[c // BITS] >> (c % BITS)) & 1 for c in range(channels)])


def _meta(values: torch.Tensor, source: SeriesVolume) -> MetaTensor:
    return MetaTensor(values, affine=torch.from_numpy(affine_ras(source.affine_lps)))
