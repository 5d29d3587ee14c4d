"""What of `uncertainty` fits the rest of a definition: its limits, its axes, and sides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipelines.uncertainty_schema import (
    PICTURE_AXES,
    SIDES,
    FlipUncertainty,
    ReviewLimits,
    Uncertainty,
)

OF_SEGMENTS = frozenset({"volume_spread"})
OF_CLASSES = frozenset({"certainty_spread", "mutual_information"})
SIDE = re.compile(r"(?i)(?<![a-z])(left|right|rechts|links|[lr]t)(?![a-z])")


def refuse_unfit(
    how: Uncertainty, *, classes: Sequence[tuple[str, ...]], is_flat: bool, has_pairs: bool
) -> None:
    """Raise ValueError for limits and axes that a model of this kind has not.

    `classes` are the words by which each class is told, none of a segmentation; `has_pairs` says
    that it tells left from right structures.
    """
    _refuse_limits(how.review_above, of_classes=bool(classes))
    if not isinstance(how, FlipUncertainty):
        return
    strange = sorted(set(how.axes) - PICTURE_AXES if is_flat else PICTURE_AXES & set(how.axes))
    if strange:
        known = "across, down" if is_flat else "left_right, front_back, head_foot"
        raise ValueError(f"uncertainty: axes {', '.join(strange)}: here they are {known}")
    if set(how.axes) & SIDES:
        _refuse_sides(how, classes, has_pairs=has_pairs)


def _refuse_limits(limits: ReviewLimits, *, of_classes: bool) -> None:
    others = OF_SEGMENTS if of_classes else OF_CLASSES
    strange = sorted(limits.model_fields_set & others)
    if strange:
        kind = "classes" if of_classes else "segments"
        raise ValueError(f"uncertainty: review_above: {', '.join(strange)}: not for {kind}")


def _refuse_sides(
    how: FlipUncertainty, classes: Sequence[Iterable[str]], *, has_pairs: bool
) -> None:
    axis = next(name for name in how.axes if name in SIDES)
    told = next((words for words in classes if any(map(SIDE.search, words))), None)
    if has_pairs or how.side_matters or told:
        raise ValueError(
            f"uncertainty: a model that tells left from right cannot be flipped {axis}"
        )
    if classes and how.side_matters is None:
        raise ValueError(
            f"uncertainty: a flip {axis} shows the model the other side of the body; say "
            "`side_matters: false` if it was trained on mirrored images, or leave the axis out"
        )
