"""Decisions on the source grid from the network's answer, plane by plane, never all at full size.

Linear interpolation between voxels of one decision keeps that decision: where all eight
neighbours of a place have the same label (or the same set of labels), it is theirs, and nothing is
computed. Only the other places, near borders, are interpolated in all channels. That is exact, but
for roundings of the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import embedding_bag

from pipelines.answer_chain import Activation, AnswerChain
from pipelines.axis_taps import AxisTaps
from pipelines.grid_inverse import GridInverse

PLANES_AT_ONCE = 8
PLACES_AT_ONCE = 1 << 18
MIXED = -1
BITS = 8
MOST_CHANNELS_OF_A_CODE = 56
"""Labels that may overlap are one bit each of a 64-bit code, MIXED aside."""

WORTH_CHOOSING = 0.6
"""Below this share of needed voxels, probabilities are made of those alone."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How one place is decided: argmax where `threshold` is None."""

    activation: Activation
    threshold: float | None

    def codes(self, answer: torch.Tensor) -> torch.Tensor:
        """Label, or a bit for each label, of activated values [..., channel]; int64 [...]."""
        if self.threshold is None:
            return answer.argmax(-1)
        shifts = torch.arange(answer.shape[-1], device=answer.device)
        return ((answer >= self.threshold).long() << shifts).sum(-1)

    def activated(self, answer: torch.Tensor) -> torch.Tensor:
        """Probabilities of answers [..., channel]."""
        match self.activation:
            case Activation.SOFTMAX:
                return answer.softmax(-1)
            case Activation.SIGMOID:
                return answer.sigmoid()
        return answer

    def undecided_codes(self, answer: torch.Tensor) -> torch.Tensor:
        """The same codes from values that are not activated yet; softmax keeps the order."""
        return self.codes(answer if self.threshold is None else self.activated(answer))


class RestoredGrid:
    """Takes finished planes of the network's answer in order, and keeps the decisions alone.

    `channels` are classes for an argmax, and at most `MOST_CHANNELS_OF_A_CODE` otherwise.
    """

    def __init__(self, inverse: GridInverse, chain: AnswerChain, channels: int) -> None:
        self._inverse = inverse
        self._taps = tuple(axis.ascending() for axis in inverse.by_network_axis())
        self._decision = Decision(chain.activation, chain.threshold)
        self._nearest = chain.nearest
        self._is_partial = [(axis.scale > 0) & (axis.scale < 1) for axis in self._taps]
        self._bytes = _bytes_of(chain, channels)
        shape = tuple(len(axis) for axis in self._taps)
        self._codes = torch.zeros((self._bytes, *shape), dtype=torch.uint8)
        self._ready_at = torch.where(self._taps[0].scale > 0, self._taps[0].upper, MIXED)
        self._carry: torch.Tensor | None = None
        self._next_plane = 0

    def add(self, planes: torch.Tensor) -> None:
        """The next planes, float [plane, y, z, channel], logits, on any device."""
        for chunk in torch.split(planes, PLANES_AT_ONCE):
            block = chunk if self._carry is None else torch.cat([self._carry, chunk])
            first = self._next_plane - (len(block) - len(chunk))
            self._add_block(first, block, new_from=self._next_plane)
            self._next_plane += len(chunk)
            self._carry = block[-1:].clone()

    def finished(self) -> torch.Tensor:
        """The bytes of the codes, uint8 [byte, *source grid], lowest byte first."""
        for axis, taps in enumerate(self._taps):
            nothing = (taps.scale == 0).nonzero()[:, 0]
            self._codes.index_fill_(axis + 1, nothing, 0)
        order = (0, *(axis + 1 for axis in self._inverse.network_axis))
        return self._codes.permute(order)

    def _add_block(self, first: int, block: torch.Tensor, new_from: int) -> None:
        last = first + len(block) - 1
        rows = ((self._ready_at >= new_from) & (self._ready_at <= last)).nonzero()[:, 0]
        if not len(rows):
            return
        codes = self._decision.undecided_codes(block)
        if not self._nearest:
            codes = _agreed(codes)
        along = self._taps[0].at(rows).lower - first
        wanted = codes
        for axis, index in enumerate((along, self._taps[1].lower, self._taps[2].lower)):
            wanted = wanted.index_select(axis, index.to(block.device))
        if not self._nearest:
            self._decide_mixed(wanted, codes, block, first, rows)
        for byte in range(self._bytes):
            part = wanted if self._bytes == 1 else wanted >> (BITS * byte)
            self._codes[byte, rows] = part.to(torch.uint8).cpu()

    def _decide_mixed(
        self,
        wanted: torch.Tensor,
        codes: torch.Tensor,
        block: torch.Tensor,
        first: int,
        rows: torch.Tensor,
    ) -> None:
        """Interpolate where neighbours disagree; writes into `wanted` [row, y, z]."""
        if self._decision.threshold is not None:
            self._mark_partial(wanted, rows)
        places = (wanted == MIXED).nonzero()
        if not len(places):
            return
        table, entry = self._table(block, codes)
        corners = _Corners(self._taps, rows, first, block.shape[:3], block.device)
        for chunk in torch.split(places, PLACES_AT_ONCE):
            index, weights = corners.of(chunk)
            index = index if entry is None else entry[index]
            values = embedding_bag(
                index, table, mode="sum", per_sample_weights=weights.to(table.dtype)
            )
            wanted[chunk[:, 0], chunk[:, 1], chunk[:, 2]] = self._decision.codes(values)

    def _mark_partial(self, wanted: torch.Tensor, rows: torch.Tensor) -> None:
        """Beside a crop, probabilities fade to 0: agreement of neighbours decides nothing."""
        partial = [self._is_partial[0][rows], *self._is_partial[1:]]
        for axis, where in enumerate(partial):
            wanted.index_fill_(axis, where.nonzero()[:, 0].to(wanted.device), MIXED)

    def _table(
        self, block: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Probabilities by voxel, and where a voxel of the block stands in them."""
        answers = block.reshape(-1, block.shape[-1])
        if self._decision.activation is Activation.NONE:
            return answers, None
        needed = torch.ones_like(codes, dtype=torch.bool)
        if not any(bool(partial.any()) for partial in self._is_partial):
            needed = _with_upper_neighbours(codes == MIXED)
        if float(needed.float().mean()) > WORTH_CHOOSING:
            return self._decision.activated(answers), None
        voxels = needed.reshape(-1).nonzero()[:, 0]
        entry = torch.zeros(len(answers), dtype=torch.long, device=block.device)
        entry[voxels] = torch.arange(len(voxels), device=block.device)
        return self._decision.activated(answers[voxels]), entry


class _Corners:
    """The eight voxels of a block around each place, and their weights."""

    def __init__(
        self,
        taps: tuple[AxisTaps, ...],
        rows: torch.Tensor,
        first: int,
        shape: torch.Size,
        device: torch.device,
    ) -> None:
        strides = (shape[1] * shape[2], shape[2], 1)
        starts = (first, 0, 0)
        self._axes = [
            (
                torch.stack([axis.lower - start, axis.upper - start], dim=1).to(device) * stride,
                (torch.stack([1 - axis.fraction, axis.fraction], 1) * axis.scale[:, None])
                .float()
                .to(device),
            )
            for axis, start, stride in zip(
                (taps[0].at(rows), *taps[1:]), starts, strides, strict=True
            )
        ]

    def of(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices into the block's voxels, and weights, both [place, 8]."""
        index, weights = None, None
        for axis, (offsets, parts) in enumerate(self._axes):
            here, share = offsets[places[:, axis]], parts[places[:, axis]]
            if index is None or weights is None:
                index, weights = here, share
                continue
            index = (index[:, :, None] + here[:, None, :]).flatten(1)
            weights = (weights[:, :, None] * share[:, None, :]).flatten(1)
        assert index is not None
        assert weights is not None
        return index, weights


def _bytes_of(chain: AnswerChain, channels: int) -> int:
    if chain.threshold is not None:
        if channels > MOST_CHANNELS_OF_A_CODE:
            raise ValueError(f"{channels} channels do not fit into one code")
        return -(-channels // BITS)
    return 1 if channels <= 1 << BITS else 2


def _agreed(codes: torch.Tensor) -> torch.Tensor:
    """The code of each cell, at its lowest corner, where its corners agree; MIXED elsewhere."""
    agreed = codes
    for axis in range(codes.ndim):
        upper = _upper(agreed, axis)
        agreed = torch.where(agreed == upper, agreed, MIXED)
    return agreed


def _upper(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Each voxel's next neighbour along an axis; the last one is its own."""
    count = values.shape[axis]
    return torch.cat([values.narrow(axis, 1, count - 1), values.narrow(axis, count - 1, 1)], axis)


def _with_upper_neighbours(cells: torch.Tensor) -> torch.Tensor:
    """The voxels that are corners of cells given by their lowest corner."""
    corners = cells.clone()
    for axis in range(cells.ndim):
        count = cells.shape[axis]
        upper = corners.narrow(axis, 0, count - 1).clone()
        corners.narrow(axis, 1, count - 1).logical_or_(upper)
    return corners
