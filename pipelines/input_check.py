"""Compares an input with what the model was trained on, before the model runs.

A model answers any picture: an X-ray, another part of the body, values on another scale. Every
feature of the input has a distance from the middle of the range of the training cases, in
half-widths of that range: 1 is at the edge of it. The farthest decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from config.settings import Frozen
from pipelines.errors import RefusalCode, Refused
from pipelines.input_features import FEATURES, Volume, features_of

NARROWEST: Mapping[str, float] = {
    "dark": 0.2,
    "middle": 0.2,
    "bright": 0.2,
    "highest_share": 0.01,
    "lowest_share": 0.02,
    "constant_slices_share": 0.005,
    "roughness": 0.02,
    "slice_likeness": 0.1,
    "shortest_edge_mm": 5.0,
    "middle_edge_mm": 5.0,
    "longest_edge_mm": 5.0,
}
NARROWEST_QUANTILE = 0.05
"""Smallest half-width of a range: training cases can be more alike than they need to be."""


WIDEST: Mapping[str, float] = {"dark": 0.5, "middle": 0.5, "bright": 0.5}
"""Largest half-width by which distance beyond a range is counted: a factor of three in values.

MR has no unit, so its training range spans orders of magnitude; as many again are no small step.
"""

TOLD = 3


class InputStatistics(Frozen):
    """Lowest and highest value of each feature over the training cases, and the limit."""

    cases: Annotated[int, Field(ge=2)]
    limit: Annotated[float, Field(ge=1)] = 2.0
    features: Annotated[dict[str, tuple[float, float]], Field(min_length=1)]

    @model_validator(mode="after")
    def _known_and_ordered(self) -> Self:
        for name, (low, high) in self.features.items():
            if name not in FEATURES:
                raise ValueError(f"{name} is no feature; there are {', '.join(FEATURES)}")
            if not low <= high:
                raise ValueError(f"{name}: the lowest value comes first")
        return self


def distances(statistics: InputStatistics, found: Mapping[str, float]) -> dict[str, float]:
    """Distance of each feature, the farthest first; 1 is at the edge of the training range."""
    by_name = {}
    for name, (low, high) in statistics.features.items():
        half_width = max((high - low) / 2, NARROWEST.get(name, NARROWEST_QUANTILE))
        from_middle = abs(found[name] - (low + high) / 2)
        beyond = max(0.0, from_middle - half_width) / min(half_width, WIDEST.get(name, half_width))
        by_name[name] = min(1.0, from_middle / half_width) + beyond
    return dict(sorted(by_name.items(), key=lambda item: -item[1]))


def refuse_unlike(
    statistics: InputStatistics, voxels: Volume, spacing_mm: tuple[float, float, float], role: str
) -> None:
    """Raise `Refused` (out_of_distribution) with figure, range, distance and limit.

    `voxels` is [slice, row, column] in modality units, as the series states them.
    """
    found = features_of(voxels, spacing_mm)
    farther = [
        (name, distance)
        for name, distance in distances(statistics, found).items()
        if not distance <= statistics.limit
    ]
    if not farther:
        return
    told = "; ".join(
        _told(name, found[name], distance, statistics) for name, distance in farther[:3]
    )
    text = (
        f"{role} is unlike the {statistics.cases} images that the model was trained on, in "
        f"{len(farther)} of {len(statistics.features)} features, limit {statistics.limit:g}: {told}"
    )
    raise Refused(RefusalCode.OUT_OF_DISTRIBUTION, text)


def _told(name: str, value: float, distance: float, statistics: InputStatistics) -> str:
    low, high = statistics.features[name]
    return f"{name} is {value:.3g}, in training {low:.3g} to {high:.3g} (distance {distance:.1f})"
