"""What a bundle's postprocessing does with the network's answer, where we know it exactly.

Recognised is: an activation (softmax, sigmoid or none), MONAI's `Invertd`, and one decision
(argmax, or a threshold for labels that may overlap), the last two in either order; then whatever
else, which sees decided labels on the source grid as it would anyway. Of any other chain nothing
is assumed: it runs as the bundle has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from monai.transforms import Activationsd, AsDiscreted, Compose, EnsureTyped, Invertd

ANSWER_KEY = "pred"


class Activation(StrEnum):
    """What makes probabilities of the network's answer."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class AnswerChain:
    """A recognised postprocessing.

    `threshold` None means argmax over the channels; otherwise each channel is a label of its
    own where it is at least that. `nearest` means that decisions, not probabilities, are brought
    to the source grid. `tail` are the transforms that follow.
    """

    activation: Activation
    threshold: float | None
    nearest: bool
    image_key: str
    tail: tuple[Callable[..., Any], ...] = ()


def answer_chain(postprocessing: Callable[..., Any]) -> AnswerChain | None:
    """Recognise a chain; None when it must run as it stands."""
    if not isinstance(postprocessing, Compose) or postprocessing.lazy:
        return None
    steps = [step for step in postprocessing.flatten().transforms if not _changes_nothing(step)]
    activation = _activation(steps[0]) if steps else None
    if activation is not None:
        steps = steps[1:]
    if len(steps) < 2:
        return None
    invert, decide = steps[:2]
    if isinstance(decide, Invertd):
        invert, decide = decide, invert
    is_inverted_last = invert is steps[1]
    if not (isinstance(invert, Invertd) and _inverts_the_answer_only(invert)):
        return None
    if not (isinstance(decide, AsDiscreted) and _decides(decide)):
        return None
    nearest = bool(invert.nearest_interp[0])
    if is_inverted_last and not nearest:  # label values would be blended
        return None
    return AnswerChain(
        activation=activation or Activation.NONE,
        threshold=None if decide.argmax[0] else float(decide.threshold[0]),
        nearest=nearest,
        image_key=str(invert.orig_keys[0]),
        tail=tuple(steps[2:]),
    )


def _changes_nothing(step: Any) -> bool:
    if step is None:  # switched off in the configuration
        return True
    return isinstance(step, EnsureTyped) and set(step.dtype) <= {None}


def _activation(step: Any) -> Activation | None:
    if not isinstance(step, Activationsd) or tuple(step.keys) != (ANSWER_KEY,):
        return None
    if step.other[0] is not None or step.converter.kwargs.get("dim", 0) != 0:
        return None
    match bool(step.softmax[0]), bool(step.sigmoid[0]):
        case True, False:
            return Activation.SOFTMAX
        case False, True:
            return Activation.SIGMOID
    return None


def _inverts_the_answer_only(step: Invertd) -> bool:
    return tuple(step.keys) == (ANSWER_KEY,) and step.post_func[0] is None


def _decides(step: AsDiscreted) -> bool:
    kwargs = step.converter.kwargs
    if tuple(step.keys) != (ANSWER_KEY,) or kwargs.get("dim", 0) != 0:
        return False
    if not kwargs.get("keepdim", True) or step.to_onehot[0] or step.rounding[0]:
        return False
    threshold = step.threshold[0]
    if step.argmax[0]:
        return threshold is None
    # What lies outside of a crop has probability 0, and must then be no label.
    return threshold is not None and threshold > 0
