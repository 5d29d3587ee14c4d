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
from pipelines.mapped_zeros import mapped_zeros
from pipelines.plane_corners import PlaneCorners

PLANES_AT_ONCE = 8
BLOCK_BYTES = 48 << 20
"""So many planes are worked on at once, and less where they are larger than that together."""

BITS = 8
MOST_CHANNELS_OF_A_CODE = 56
"""Labels that may overlap are one bit each of a 64-bit code; one code says MIXED."""

WORTH_CHOOSING = 0.25
"""Below this share of needed voxels, probabilities are made of those alone."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How one place is decided: argmax where `threshold` is None. `dtype` holds its codes."""

    activation: Activation
    threshold: float | None
    dtype: torch.dtype

    @property
    def mixed(self) -> int:
        """The code that is none."""
        return 255 if self.dtype is torch.uint8 else -1

    def codes(self, answer: torch.Tensor) -> torch.Tensor:
        """Label, or a bit for each label, of activated values [..., channel]."""
        if self.threshold is None:
            return answer.max(-1).indices.to(self.dtype)
        shifts = torch.arange(answer.shape[-1], device=answer.device)
        return ((answer >= self.threshold).long() << shifts).sum(-1).to(self.dtype)

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


def decision_of(chain: AnswerChain, channels: int) -> Decision:
    """The decision of a chain, with the smallest codes that hold `channels`."""
    if chain.threshold is None:
        dtype = torch.uint8 if channels < 1 << BITS else torch.int32
    elif channels > MOST_CHANNELS_OF_A_CODE:
        raise ValueError(f"{channels} channels do not fit into one code")
    else:
        dtype = torch.uint8 if channels < BITS else torch.int64
    return Decision(chain.activation, chain.threshold, dtype)


class RestoredGrid:
    """Takes finished planes of the network's answer in order, and keeps the decisions alone.

    `channels` are classes for an argmax, and at most `MOST_CHANNELS_OF_A_CODE` otherwise.
    """

    def __init__(self, inverse: GridInverse, chain: AnswerChain, channels: int) -> None:
        self._inverse = inverse
        self._taps = tuple(axis.ascending() for axis in inverse.by_network_axis())
        self._decision = decision_of(chain, channels)
        self._is_whole = chain.nearest or all(axis.is_single for axis in self._taps)
        self._bytes = _bytes_of(chain, channels)
        shape = tuple(len(axis) for axis in self._taps)
        self._codes = mapped_zeros((self._bytes, *shape), torch.device("cpu"), torch.uint8)
        self._ready_at = torch.where(self._taps[0].scale > 0, self._taps[0].upper, -1)
        self._corners: PlaneCorners | None = None
        self._carry: torch.Tensor | None = None
        self._next_plane = 0

    def add(self, planes: torch.Tensor) -> None:
        """The next planes, float [plane, y, z, channel], logits, on any device."""
        if self._carry is not None:
            self._add_block(torch.cat([self._carry, planes[:1]]), self._next_plane - 1)
        step = _planes_at_once(planes)
        for start in range(0, len(planes), step):
            block = planes[start : start + step + 1]
            self._add_block(block, self._next_plane + start)
        self._next_plane += len(planes)
        self._keep(planes[-1:])

    def _keep(self, plane: torch.Tensor) -> None:
        if self._carry is None:
            self._carry = mapped_zeros(plane.shape, plane.device, plane.dtype)
        self._carry.copy_(plane)

    def finished(self) -> torch.Tensor:
        """The bytes of the codes, uint8 [byte, *source grid], lowest byte first."""
        for axis, taps in enumerate(self._taps):
            nothing = (taps.scale == 0).nonzero()[:, 0]
            self._codes.index_fill_(axis + 1, nothing, 0)
        order = (0, *(axis + 1 for axis in self._inverse.network_axis))
        return self._codes.permute(order)

    def _add_block(self, block: torch.Tensor, first: int) -> None:
        """Decide what the planes of a block suffice for; what was decided before is skipped."""
        last = first + len(block) - 1
        rows = ((self._ready_at >= 0) & (self._ready_at <= last)).nonzero()[:, 0]
        if not len(rows):
            return
        self._ready_at[rows] = -1
        codes = self._decision.undecided_codes(block)
        if not self._is_whole:
            codes = _agreed(codes, self._decision.mixed)
        along = self._taps[0].lower[rows] - first
        wanted = codes
        for axis, index in enumerate((along, self._taps[1].lower, self._taps[2].lower)):
            wanted = wanted.index_select(axis, index.to(block.device))
        if not self._is_whole:
            self._decide_mixed(wanted, codes, block, self._taps[0].at(rows).moved(-first))
        for byte in range(self._bytes):
            part = wanted if self._bytes == 1 else wanted >> (BITS * byte)
            self._codes[byte, rows] = part.to(torch.uint8).cpu()

    def _decide_mixed(
        self, wanted: torch.Tensor, codes: torch.Tensor, block: torch.Tensor, along: AxisTaps
    ) -> None:
        """Interpolate where neighbours disagree; writes into `wanted` [row, y, z]."""
        mixed = self._decision.mixed
        if self._decision.threshold is not None:
            self._mark_partial(wanted, along)
        if not bool((wanted == mixed).any()):
            return
        if self._corners is None:
            self._corners = PlaneCorners(self._taps[1], self._taps[2], block.shape[2], block.device)
        table, entry = self._table(block, codes)
        plane = block.shape[1] * block.shape[2]
        for row, (lower, upper, fraction, scale) in enumerate(along.as_tuples()):
            places = (wanted[row].view(-1) == mixed).nonzero()[:, 0]
            if not len(places):
                continue
            index, weights = self._corners.of(places, plane, (lower, upper), (fraction, scale))
            index = index if entry is None else entry[index]
            values = embedding_bag(index, table, mode="sum", per_sample_weights=weights)
            wanted[row].view(-1)[places] = self._decision.codes(values)

    def _mark_partial(self, wanted: torch.Tensor, along: AxisTaps) -> None:
        """Beside a crop, probabilities fade to 0: agreement of neighbours decides nothing."""
        for axis, taps in enumerate((along, *self._taps[1:])):
            where = taps.is_partial.nonzero()[:, 0].to(wanted.device)
            wanted.index_fill_(axis, where, self._decision.mixed)

    def _table(
        self, block: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Probabilities by voxel, and where a voxel of the block stands in them."""
        answers = block.reshape(-1, block.shape[-1])
        if self._decision.activation is Activation.NONE:
            return answers, None
        needed = _with_upper_neighbours(codes == self._decision.mixed)
        fades = self._decision.threshold is not None and any(
            bool(axis.is_partial.any()) for axis in self._taps
        )
        if fades or float(needed.float().mean()) > WORTH_CHOOSING:
            return self._decision.activated(answers), None
        voxels = needed.view(-1).nonzero()[:, 0]
        entry = torch.zeros(len(answers), dtype=torch.long, device=block.device)
        entry[voxels] = torch.arange(len(voxels), device=block.device)
        return self._decision.activated(answers[voxels]), entry


def _planes_at_once(planes: torch.Tensor) -> int:
    return max(1, min(PLANES_AT_ONCE, BLOCK_BYTES // planes[0].nbytes))


def _bytes_of(chain: AnswerChain, channels: int) -> int:
    if chain.threshold is not None:
        return -(-channels // BITS)
    return 1 if channels <= 1 << BITS else 2


def _agreed(codes: torch.Tensor, mixed: int) -> torch.Tensor:
    """The code of each cell, at its lowest corner, where its corners agree; `mixed` elsewhere."""
    agreed = codes.clone()
    for axis in range(codes.ndim):
        count = codes.shape[axis]
        lower, upper = agreed.narrow(axis, 0, count - 1), agreed.narrow(axis, 1, count - 1)
        differs = lower != upper
        agreed = agreed.clone()
        agreed.narrow(axis, 0, count - 1).masked_fill_(differs, mixed)
    return agreed


def _with_upper_neighbours(cells: torch.Tensor) -> torch.Tensor:
    """The voxels that are corners of cells given by their lowest corner."""
    corners = cells
    for axis in range(cells.ndim):
        lower = corners.narrow(axis, 0, cells.shape[axis] - 1)
        corners = corners.clone()
        corners.narrow(axis, 1, cells.shape[axis] - 1).logical_or_(lower)
    return corners
