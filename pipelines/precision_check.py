"""Runs a model on a case in reduced precision and in float32, and says how far they agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.agreement import EXACT, Agreement, classes_agreement, labels_agreement
from pipelines.bundle import LoadedBundle
from pipelines.class_cases import class_cases
from pipelines.class_run import judge_of
from pipelines.definition_schema import Precision
from pipelines.labels import Labels
from pipelines.network_call import is_reduced
from pipelines.preprocessing import preprocessed
from pipelines.registry import RegisteredPipeline
from pipelines.segmenting import Effort, segmented
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes


def agreements(
    registered: RegisteredPipeline,
    bundle: LoadedBundle,
    volumes: Mapping[str, SeriesVolume],
    precisions: Collection[Precision],
) -> dict[str, Agreement]:
    """How far each of the reduced `precisions` agrees with float32 on a case, by its name.

    Those that the device computes in float32 anyway are left out. Raises what a run raises.
    """
    wanted = [one for one in precisions if is_reduced(one, bundle.device)]
    compare = _compared_classes if registered.definition.classes else _compared_labels
    return compare(registered, bundle, volumes, wanted) if wanted else {}


def _compared_classes(
    registered: RegisteredPipeline,
    bundle: LoadedBundle,
    volumes: Mapping[str, SeriesVolume],
    precisions: Sequence[Precision],
) -> dict[str, Agreement]:
    definition = registered.definition
    cases = class_cases(definition, volumes, bundle, registered.channel_roles)
    judge = judge_of(definition, bundle)

    def judged(precision: Precision) -> NDArray[np.float64]:
        one = replace(judge, precision=precision)
        return np.stack([one.of(case.data) for case in cases])

    exact = judged(EXACT)
    return {str(one): classes_agreement(exact, judged(one)) for one in precisions}


def _compared_labels(
    registered: RegisteredPipeline,
    bundle: LoadedBundle,
    volumes: Mapping[str, SeriesVolume],
    precisions: Sequence[Precision],
) -> dict[str, Agreement]:
    names = {item.label_value: item.label for item in registered.definition.segments}
    exact = labels_in(EXACT, registered, bundle, volumes)
    found = {}
    for precision in precisions:
        reduced = labels_in(precision, registered, bundle, volumes)
        figure = labels_agreement(exact, reduced, names)
        if figure is not None:
            found[str(precision)] = figure
    return found


def labels_in(
    precision: Precision,
    registered: RegisteredPipeline,
    bundle: LoadedBundle,
    volumes: Mapping[str, SeriesVolume],
) -> Labels:
    """The labels of a case, computed in `precision`."""
    data = preprocessed(volumes, bundle, registered.channel_roles)
    source = next(iter(volumes.values()))
    return segmented(data, bundle, source, StageTimes(), Effort(precision))
