"""Further passes of a classifier over one image, and what they say of each class.

The result stays that of the plain model, which is one of the passes. Of N passes with calibrated
probabilities p of a class: predictive entropy is H(mean p), mutual information what is left of it
after mean H(p), both of "the class or not" in bits (Gal 2016, 3.3.1). The first is high where the
model is undecided, the second where its passes contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.answer_passes import RandomStream, dropout_layers, flips_of, left_on
from pipelines.classifying import Judge
from pipelines.uncertainty_schema import FlipUncertainty, Uncertainty

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassPasses:
    """One preprocessed image and its classifier; `seed` makes dropout the same for a job."""

    data: dict[str, Any]
    judge: Judge
    seed: int

    def own(self) -> Probabilities:
        """Probability of each output [class], of the plain model."""
        return self.judge.of(self.data)

    def of(self, how: Uncertainty) -> Iterator[Probabilities]:
        """Those of the further passes. Raises `InvalidBundle` where dropout is asked of none."""
        if isinstance(how, FlipUncertainty):
            key = self.judge.bundle.metadata.input_key
            image: MetaTensor = self.data[key]
            for axes in flips_of(image, how.axes):
                turned = torch.flip(image.as_tensor(), [axis + 1 for axis in axes])
                yield self.judge.of({**self.data, key: MetaTensor(turned, meta=image.meta)})
            return
        dropouts = dropout_layers(self.judge.bundle.network)
        for number in range(how.passes):
            random = RandomStream(self.seed + number, self.judge.bundle.device)
            with random.drawn(), left_on(dropouts):
                found = self.judge.of(self.data)
            yield found


@dataclass(frozen=True, slots=True)
class ClassSpread:
    """What all passes say of one class: shares of 1, and bits."""

    mean: float
    lowest: float
    highest: float
    predictive_entropy: float
    mutual_information: float


def class_spread(probabilities: Probabilities) -> ClassSpread:
    """What the passes [pass] say together, each with the calibrated probability of the class."""
    mean = float(probabilities.mean())
    entropy = _entropy(np.asarray([mean]))
    return ClassSpread(
        # A mean of equal numbers may lie a rounding beside them.
        mean=min(max(mean, float(probabilities.min())), float(probabilities.max())),
        lowest=float(probabilities.min()),
        highest=float(probabilities.max()),
        predictive_entropy=entropy,
        mutual_information=max(0.0, entropy - _entropy(probabilities)),
    )


def _entropy(probabilities: Probabilities) -> float:
    """Mean entropy in bits of events with these probabilities."""
    both = np.stack([probabilities, 1.0 - probabilities])
    logs = np.log2(both, out=np.zeros_like(both), where=both > 0)
    return float(-(both * logs).sum(axis=0).mean())
