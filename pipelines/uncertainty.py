"""How sure a model is of each structure: entropy and volume over several passes of its network.

Passes are looked at plane by plane on the network's grid and forgotten. Of every voxel that the
result's own pass gives to a structure, the mean probability of that structure over all passes is
kept, and no more: the memory is that of the structures, however many classes and passes there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.data import MetaTensor

from pipelines.answer_chain import Activation, AnswerChain, answer_chain
from pipelines.answer_passes import AnswerPasses, Pass
from pipelines.bundle import LoadedBundle
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.restored_grid import decision_of

LABELS_STAY = frozenset(
    {"KeepLargestConnectedComponentd", "RemoveSmallObjectsd", "FillHolesd", "EnsureTyped"}
)


@dataclass(frozen=True, slots=True)
class Spread:
    """What the passes say of one structure.

    `mean_entropy` is in bits, of the structure against all else, over the voxels of the result's
    own pass; None where that has none. Volumes are the least and greatest of all passes on the
    network's grid, `volume_ml` that of the result's own.
    """

    mean_entropy: float | None
    volume_ml: float
    lowest_ml: float
    highest_ml: float


Spreads = Mapping[int, Spread]
"""By the label value of the structure."""


@dataclass(eq=False)
class _Sums:
    """Of one structure: its voxels on each plane, sums of its probability, volumes by pass."""

    voxels: dict[int, torch.Tensor] = field(default_factory=dict)
    sums: dict[int, torch.Tensor] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)


class UncertaintyWatch:
    """Looks at the result's own pass as it goes by, then at the further ones."""

    def __init__(self, definition: PipelineDefinition, bundle: LoadedBundle) -> None:
        self._members = {s.label_value: (s.label_value, *s.also) for s in definition.segments}
        self._sums = {value: _Sums() for value in self._members}
        self._has_background = bundle.metadata.has_background
        self._chain = _known_chain(bundle)

    def own(self, slabs: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The same slabs [plane, y, z, channel] of the result's own pass, looked at."""
        self._begin()
        index = 0
        for slab in slabs:
            for plane in slab:
                self._look(index, plane, is_own=True)
                index += 1
            yield slab

    def further(self, planes: Pass) -> None:
        """Look at one more pass."""
        self._begin()
        for index, plane in planes:
            self._look(index, plane, is_own=False)

    def spreads(self, voxel_ml: float) -> dict[int, Spread]:
        """What all passes together say; `voxel_ml` is the volume of a voxel of the network."""
        return {value: _spread(sums, voxel_ml) for value, sums in self._sums.items()}

    def _begin(self) -> None:
        for sums in self._sums.values():
            sums.counts.append(0)

    def _look(self, index: int, plane: torch.Tensor, *, is_own: bool) -> None:
        decision = decision_of(self._chain, min(plane.shape[-1], 2))
        probabilities = decision.activated(plane.float()).flatten(0, 1)
        best = probabilities.argmax(-1) if self._chain.threshold is None else None
        for value, members in self._members.items():
            sums = self._sums[value]
            channels = self._channels(members, plane.shape[-1])
            mask = self._mask(probabilities, best, channels)
            sums.counts[-1] += int(mask.sum())
            if is_own and bool(mask.any()):
                sums.voxels[index] = mask.nonzero()[:, 0]
                sums.sums[index] = torch.zeros(len(sums.voxels[index]), device=plane.device)
            if index in sums.voxels:
                sums.sums[index] += self._of_structure(probabilities[sums.voxels[index]], channels)

    def _channels(self, values: tuple[int, ...], count: int) -> list[int]:
        """Channels of label values, as `label_decision` counts them."""
        is_index = self._chain.threshold is None or (self._has_background and count > 1)
        channels = [value if is_index else value - 1 for value in values]
        return [channel for channel in channels if 0 <= channel < count]

    def _mask(
        self, probabilities: torch.Tensor, best: torch.Tensor | None, channels: list[int]
    ) -> torch.Tensor:
        if best is not None:
            return torch.isin(best, torch.tensor(channels, device=best.device))
        return (probabilities[:, channels] >= (self._chain.threshold or 0.0)).any(-1)

    def _of_structure(self, probabilities: torch.Tensor, channels: list[int]) -> torch.Tensor:
        """Of labels that exclude each other the sum; of others that overlap the greatest."""
        chosen = probabilities[:, channels]
        return chosen.sum(-1) if self._chain.threshold is None else chosen.amax(-1)


def measured_uncertainty(
    watch: UncertaintyWatch, passes: AnswerPasses, definition: PipelineDefinition
) -> dict[int, Spread]:
    """Run the further passes of the definition, after the result's own went through `watch`.

    Raises what `answer_planes` raises, and `InvalidBundle` for a network without dropout.
    """
    if definition.uncertainty is None:
        return {}
    image: MetaTensor = passes.data[passes.bundle.metadata.input_key]
    with torch.inference_mode():
        for one in passes.of(definition.uncertainty):
            watch.further(one)
    voxel_ml = float(torch.linalg.det(image.affine[:3, :3].double()).abs()) / 1000.0
    return watch.spreads(voxel_ml)


def _known_chain(bundle: LoadedBundle) -> AnswerChain:
    chain = answer_chain(bundle.postprocessing)
    text = "uncertainty: the model's own postprocessing "
    if chain is None:
        raise InvalidBundle(f"{text}does not tell how labels come from probabilities")
    if chain.activation is Activation.NONE and chain.threshold is None:
        chain = AnswerChain(Activation.SOFTMAX, None, chain.nearest, chain.image_key, chain.tail)
    strange = [type(step).__name__ for step in chain.tail if not _keeps_labels(step)]
    if strange:
        raise InvalidBundle(f"{text}makes other labels of its channels ({', '.join(strange)})")
    return chain


def _keeps_labels(step: Any) -> bool:
    return type(step).__name__ in LABELS_STAY


def _spread(sums: _Sums, voxel_ml: float) -> Spread:
    own, *_ = sums.counts
    return Spread(
        mean_entropy=_mean_entropy(sums),
        volume_ml=own * voxel_ml,
        lowest_ml=min(sums.counts) * voxel_ml,
        highest_ml=max(sums.counts) * voxel_ml,
    )


def _mean_entropy(sums: _Sums) -> float | None:
    if not sums.sums:
        return None
    means = torch.cat([one.double().cpu() for one in sums.sums.values()]) / len(sums.counts)
    means = means.clamp(0.0, 1.0)
    nats = torch.special.entr(means) + torch.special.entr(1.0 - means)
    return float(nats.mean() / torch.log(torch.tensor(2.0, dtype=torch.float64)))
