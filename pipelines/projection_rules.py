"""What a definition may say of its projections, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipelines.reading_policy import Kind

SeveralProjections = Literal["stacked", "per_view"]
"""One answer to all pictures as channels of one image, or an answer to each."""


def refuse_unfit_projections(
    kinds: Sequence[Kind],
    several: SeveralProjections | None,
    *,
    has_classes: bool,
    leaves_out: bool,
) -> None:
    """Raise ValueError for inputs that do not go together. `kinds` are those of the inputs."""
    if "projection" in kinds:
        if len(set(kinds)) > 1 or not has_classes:
            raise ValueError("inputs: projections go with classes, and with no volume beside them")
        if len(kinds) > 1 and several is None:
            raise ValueError(
                "inputs: of several projections say `several_projections: stacked` (one answer to "
                "all of them) or `per_view` (an answer to each)"
            )
    if several and (len(kinds) < 2 or "projection" not in kinds):
        raise ValueError("several_projections: for two or more inputs of kind projection")
    if leaves_out and several != "per_view":
        raise ValueError("missing_views: leave_out goes with several_projections: per_view")
