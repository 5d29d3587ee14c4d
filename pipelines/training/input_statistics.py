"""What the training images look like, so that a node can refuse what looks otherwise."""

from collections.abc import Iterable, Sequence
from itertools import permutations

import nibabel
import numpy as np

from pipelines.input_check import InputStatistics, distances
from pipelines.input_features import FEATURES, features_of
from pipelines.training.datasets import Case
from pipelines.training.errors import TrainingError

DECIMALS = 4
CUTS = tuple(permutations(range(3)))[::2]  # each axis once as the one across the slices


def input_statistics(cases: Sequence[Case]) -> InputStatistics:
    """Return the range of every feature over the cases, each cut into slices along three axes."""
    if len(cases) < 2:
        raise TrainingError("statistics need two cases or more")
    found = [features for case in cases for features in features_of_case(case)]
    return InputStatistics(
        cases=len(cases),
        features={
            name: (
                round(min(features[name] for features in found), DECIMALS),
                round(max(features[name] for features in found), DECIMALS),
            )
            for name in FEATURES
        },
    )


def features_of_case(case: Case) -> list[dict[str, float]]:
    """Return the features of one image for each axis that slices may be stacked along."""
    image = nibabel.load(case.image_path)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    sizes = [float(size) for size in image.header.get_zooms()[:3]]
    found = []
    for cut in CUTS:
        across, down, along = (sizes[axis] for axis in cut)
        turned = np.ascontiguousarray(voxels.transpose(cut))
        found.append(features_of(turned, (across, down, along)))
    return found


def passing(statistics: InputStatistics, cases: Iterable[Case]) -> list[bool]:
    """Return for each case and axis whether it is within the limit."""
    return [
        max(distances(statistics, features).values()) <= statistics.limit
        for case in cases
        for features in features_of_case(case)
    ]


def as_yaml(statistics: InputStatistics) -> str:
    """Return the lines for an input of a pipeline definition."""
    lines = [
        "    input_statistics:",
        f"      cases: {statistics.cases}",
        f"      limit: {statistics.limit:g}",
        "      features:",
    ]
    for name, (low, high) in statistics.features.items():
        lines.append(f"        {name}: [{low:g}, {high:g}]")
    return "\n".join(lines) + "\n"
