"""How far a model in reduced precision agrees with itself in float32, and how far it has to.

Measured on a case when a model is accepted, on the device that computed: another one rounds in
another way, and what was measured on a CPU does not vouch for a GPU. The share of equal voxels
would say little, since most are background: what counts is the structure that agrees least. Nothing
here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.acceptance import Acceptances
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.labels import Labels, mask_of

EXACT: Literal["float32"] = "float32"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two answers agree, 0 to 1, and the structure that agrees least ('' of classes)."""

    share: float
    worst: str = ""


def labels_agreement(
    exact: Labels, reduced: Labels, label_names: Mapping[int, str]
) -> Agreement | None:
    """The least Dice overlap of a structure; None where there is none."""
    overlaps: dict[str, float] = {}
    for value, name in label_names.items():
        one, other = mask_of(exact, value), mask_of(reduced, value)
        total = int(one.sum()) + int(other.sum())
        if total:
            overlaps[name] = float(2 * int((one & other).sum()) / total)
    if not overlaps:
        return None
    worst = min(overlaps, key=lambda name: overlaps[name])
    return Agreement(overlaps[worst], worst)


def classes_agreement(exact: NDArray[np.float64], reduced: NDArray[np.float64]) -> Agreement:
    """1 less the largest difference of a probability."""
    return Agreement(1.0 - float(np.abs(exact - reduced).max()))


def required_agreements(
    definition: PipelineDefinition, model_digest: str, acceptances: Acceptances
) -> Mapping[str, float]:
    """How far the definition's precision agrees with float32, by kind of device.

    Raises `InvalidBundle` for a reduced precision that was not compared, or agrees too little
    wherever it was. Which device will compute is not known before torch is there.
    """
    if definition.precision == EXACT:
        return {}
    precision, limit = definition.precision, definition.least_agreement
    found = acceptances.agreements_of(model_digest, precision)
    told = f"bundle {definition.bundle}, definition {definition.name}: precision {precision}"
    if not found:
        raise InvalidBundle(
            f"{told} was not compared with {EXACT} on a case; run radnode model accept "
            f"{definition.bundle} CASE on the device that the node uses, or set precision: {EXACT}"
        )
    if max(found.values()) < limit:
        figures = ", ".join(f"to {share:.4f} on {kind}" for kind, share in found.items())
        raise InvalidBundle(
            f"{told} agrees with {EXACT} {figures} only, and least_agreement is {limit:g}; "
            f"set precision: {EXACT}"
        )
    return found
