"""The probabilities of a bundle that judges the whole image.

The bundle's own activation makes them of the network's answer; what it does with them later
(argmax, files) is left out: the definition's operating points decide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Activations, Activationsd, Compose
from numpy.typing import NDArray

from pipelines.answer_chain import ANSWER_KEY
from pipelines.bundle import LoadedBundle
from pipelines.definition_schema import Precision
from pipelines.errors import InferenceFailed
from pipelines.inference import infer

WITHIN = 1e-4
"""How far outside of 0 to 1 roundings may lead."""


def classified(
    data: dict[str, Any], bundle: LoadedBundle, precision: Precision, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Probability of each output [class] of the bundle for preprocessed `data`.

    The network's answer is divided by `temperature` before it is activated. Raises
    `InferenceFailed` when the network breaks, or answers what is no such list.
    """
    answer = infer(data, bundle, precision).as_tensor().float().cpu() / temperature
    known = len(bundle.metadata.channels)
    if answer.numel() != known:
        raise InferenceFailed(
            f"the network answers {tuple(answer.shape)} values, not one for each of the {known} "
            "classes of the bundle's channel_def"
        )
    values = _activated(MetaTensor(answer.flatten()), bundle).double()
    if float(values.min()) < -WITHIN or float(values.max()) > 1.0 + WITHIN:
        raise InferenceFailed(
            "the model's answers are no probabilities: its postprocessing needs an activation "
            "(softmax or sigmoid)"
        )
    probabilities: NDArray[np.float64] = values.clamp(0.0, 1.0).numpy()
    return probabilities


def _activated(answer: MetaTensor, bundle: LoadedBundle) -> torch.Tensor:
    """The answer [class] after the activations of the postprocessing, as they are configured.

    Where there is none, an argmax says that the classes exclude each other: softmax, unless the
    network has taken it already.
    """
    chain = bundle.postprocessing
    is_shares = float(answer.min()) >= 0 and abs(float(answer.sum()) - 1.0) < WITHIN
    if bundle.chain.head == "softmax" and "Activations" not in bundle.chain.names and not is_shares:
        return torch.softmax(answer.as_tensor(), dim=0)
    steps = chain.flatten().transforms if isinstance(chain, Compose) else (chain,)
    processed: Any = {ANSWER_KEY: answer}
    for step in steps:
        if isinstance(step, Activationsd) and ANSWER_KEY in step.keys:
            processed = step(processed)
        elif isinstance(step, Activations):
            processed = {ANSWER_KEY: step(processed[ANSWER_KEY])}
    values: torch.Tensor = torch.as_tensor(processed[ANSWER_KEY])
    return values
