"""The probabilities of a bundle that judges the whole image.

The bundle's own activation makes them of the network's answer; what it does with them later
(argmax, files) is left out: the definition's operating points decide. Where its inferer cuts
windows, each is judged for itself, and the definition says how they are put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Activations, Activationsd, Compose
from numpy.typing import NDArray

from pipelines.answer_chain import ANSWER_KEY
from pipelines.bundle import LoadedBundle
from pipelines.class_windows import Combined, class_windows, goes_in_windows
from pipelines.definition_schema import Precision
from pipelines.errors import InferenceFailed, InvalidBundle
from pipelines.inference import NOT_FINITE, infer, told_errors
from pipelines.network_call import NetworkCall

WITHIN = 1e-4
"""How far outside of 0 to 1 roundings may lead."""

SMALLEST = 1e-15


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier with what its definition says of it.

    The network's answer is divided by `temperature` before it is activated; `windows` says how
    those of windows are put together.
    """

    bundle: LoadedBundle
    precision: Precision = "float32"
    temperature: float = 1.0
    windows: Combined | None = None

    def __post_init__(self) -> None:
        if goes_in_windows(self.bundle.inferer) != (self.windows is not None):
            name = type(self.bundle.inferer).__name__
            raise InvalidBundle(
                f"{name} cuts windows: say in the definition how their probabilities become one, "
                "by `windows: max` or `windows: mean`"
                if self.windows is None
                else f"{name} shows the network the whole image; leave out `windows`"
            )

    def of(self, data: dict[str, Any]) -> NDArray[np.float64]:
        """Probability of each output [class] for preprocessed `data`.

        Raises `InferenceFailed` when the network breaks, or answers what is no such list.
        """
        if self.windows is None:
            answer = infer(data, self.bundle, self.precision).as_tensor()
            return self._row(answer).numpy()
        image = data[self.bundle.metadata.input_key]
        batch = torch.as_tensor(image.as_tensor(), dtype=torch.float32)[None]
        return self.rows(batch)[0].numpy()

    def rows(self, batch: torch.Tensor) -> torch.Tensor:
        """Probabilities [image, class] of preprocessed images [image, channel, x, y(, z)]."""
        with told_errors(self.bundle, batch), torch.inference_mode():
            if self.windows is None:
                inferer = self.bundle.inferer
                return self._rows(inferer(inputs=self._placed(batch), network=self._call))
            return torch.stack([self._by_windows(image[None]) for image in batch])

    def log_odds(self, batch: torch.Tensor) -> torch.Tensor:
        """log(p / (1 - p)) of `rows`, exact also where p is 1 as far as a number can say."""
        kind = _plain_activation(self.bundle)
        if kind is None or self.windows == "mean":
            return log_odds_of(self.rows(batch))
        with told_errors(self.bundle, batch), torch.inference_mode():
            if self.windows is None:
                whole = self.bundle.inferer(inputs=self._placed(batch), network=self._call)
                return _odds(self._scaled(whole), kind)
            found = [self._answers(image[None]) for image in batch]
        return torch.stack([_odds(answers, kind).amax(dim=0) for answers in found])

    def of_windows(self, batch: torch.Tensor) -> torch.Tensor:
        """Probabilities [window, class] of one image [1, channel, x, y(, z)]."""
        with torch.inference_mode():
            windows = class_windows(self._placed(batch), self.bundle.inferer)
            return torch.cat([self._rows(self._call(window)) for window in windows])

    def _answers(self, batch: torch.Tensor) -> torch.Tensor:
        """The network's answers [window, class] to one image, by temperature."""
        windows = class_windows(self._placed(batch), self.bundle.inferer)
        return self._scaled(torch.cat([self._call(window) for window in windows]))

    def _scaled(self, answers: torch.Tensor) -> torch.Tensor:
        return answers.flatten(1).double().cpu() / self.temperature

    @property
    def _call(self) -> NetworkCall:
        return NetworkCall(self.bundle.network, self.bundle.device, self.precision)

    def _placed(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.to(self.bundle.device)

    def _by_windows(self, batch: torch.Tensor) -> torch.Tensor:
        found = self.of_windows(batch)
        return found.amax(dim=0) if self.windows == "max" else found.mean(dim=0)

    def _rows(self, answers: Any) -> torch.Tensor:
        if not isinstance(answers, torch.Tensor):
            raise InferenceFailed(f"the network answered a {type(answers).__name__}, not a tensor")
        if not bool(torch.isfinite(answers).all()):
            raise InferenceFailed(NOT_FINITE)
        return torch.stack([self._row(answer) for answer in answers])

    def _row(self, answer: torch.Tensor) -> torch.Tensor:
        known = len(self.bundle.metadata.channels)
        if answer.numel() != known:
            raise InferenceFailed(
                f"the network answers {tuple(answer.shape)} values, not one for each of the "
                f"{known} classes of the bundle's channel_def"
            )
        values = _activated(
            MetaTensor(answer.double().cpu().flatten() / self.temperature), self.bundle
        ).double()
        if float(values.min()) < -WITHIN or float(values.max()) > 1.0 + WITHIN:
            raise InferenceFailed(
                "the model's answers are no probabilities: its postprocessing needs an activation "
                "(softmax or sigmoid)"
            )
        return values.clamp(0.0, 1.0)


def _activated(answer: MetaTensor, bundle: LoadedBundle) -> torch.Tensor:
    """The answer [class] after the activations of the postprocessing, as they are configured.

    Where there is none, an argmax says that the classes exclude each other: softmax, unless the
    network has taken it already.
    """
    chain = bundle.postprocessing
    is_shares = float(answer.min()) >= 0 and abs(float(answer.sum()) - 1.0) < WITHIN
    if bundle.chain.head == "softmax" and "Activations" not in bundle.chain.names and not is_shares:
        return torch.softmax(answer.as_tensor(), dim=0)
    plain = _plain_activation(bundle)
    if plain is not None:
        values = answer.as_tensor()
        return torch.softmax(values, dim=0) if plain == "softmax" else torch.sigmoid(values)
    steps = chain.flatten().transforms if isinstance(chain, Compose) else (chain,)
    processed: Any = {ANSWER_KEY: answer}
    for step in steps:
        if isinstance(step, Activationsd) and ANSWER_KEY in step.keys:
            processed = step(processed)
        elif isinstance(step, Activations):
            processed = {ANSWER_KEY: step(processed[ANSWER_KEY])}
    found: torch.Tensor = torch.as_tensor(processed[ANSWER_KEY])
    return found.as_tensor() if isinstance(found, MetaTensor) else found


def _plain_activation(bundle: LoadedBundle) -> str | None:
    """The one softmax or sigmoid of the postprocessing, None where it has something else.

    MONAI's own rounds to single precision, in which all that is nearly certain is 1.
    """
    found = [step.settings for step in bundle.chain.steps if step.name == "Activations"]
    if len(found) != 1 or found[0].get("other") is not None or not bundle.chain.is_known:
        return None
    kinds = [name for name in ("softmax", "sigmoid") if found[0].get(name) is True]
    return kinds[0] if len(kinds) == 1 else None


def _odds(answers: torch.Tensor, kind: str) -> torch.Tensor:
    """log(p / (1 - p)) of answers [image, class] before their activation."""
    if kind == "sigmoid":
        return answers
    count = answers.shape[1]
    others = answers[:, None, :].expand(-1, count, -1)
    own = torch.eye(count, dtype=torch.bool)
    return answers - others.masked_fill(own, -torch.inf).logsumexp(dim=2)


def log_odds_of(probabilities: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)), of numbers next to 0 and 1 a large one."""
    inside = probabilities.double().clamp(SMALLEST, 1.0 - SMALLEST)
    return torch.log(inside) - torch.log1p(-inside)
