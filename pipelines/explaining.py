"""The heat maps of a classifier's findings, one for each class that is present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from pipelines.classifying import Judge
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.explanation_schema import Explanation
from pipelines.findings import Findings
from pipelines.gradcam import Explainer
from pipelines.heat_map import HeatMap
from pipelines.map_on_source import TEXT
from pipelines.occlusion import Occluder, TooLong, box_count
from pipelines.series_volume import SeriesVolume
from pipelines.tilt import slice_by_slice
from storage.quantities import CERTAINTY
from storage.records import MeasurementRecord

log = structlog.get_logger()


def explained(
    findings: Findings,
    definition: PipelineDefinition,
    data: dict[str, Any],
    judge: Judge,
    volumes: tuple[SeriesVolume, SeriesVolume],
) -> Findings:
    """The findings with their heat maps, where the definition asks for them.

    `volumes` are the first input as it is, and upright. Maps that take too long are left out, and
    a remark says so. Raises what `Explainer` raises.
    """
    present = [m for m in findings.measurements if m.quantity == CERTAINTY and m.is_present]
    if definition.explanation is None or not present:
        return findings
    try:
        maps = tuple(_heat_maps(present, data, judge, definition.explanation, volumes))
    except TooLong as error:
        log.warning("heat_maps_left_out", reason=str(error))
        return replace(findings, remark=f"No heat map: {error}")
    return replace(findings, heat_maps=maps)


def _heat_maps(
    present: list[MeasurementRecord],
    data: dict[str, Any],
    judge: Judge,
    how: Explanation,
    volumes: tuple[SeriesVolume, SeriesVolume],
) -> list[HeatMap]:
    explainer = explainer_of(data, judge, how)
    source, upright = volumes
    return [
        HeatMap(
            label=found.structure,
            output=found.label_value,
            tracking_uid=found.tracking_uid,
            certainty_percent=found.value,
            method=explainer.method,
            means=explainer.means,
            values=slice_by_slice(explainer.source_map(found.label_value, upright), source),
        )
        for found in present
    ]


def explainer_of(data: dict[str, Any], judge: Judge, how: Explanation) -> Explainer | Occluder:
    """What makes the maps. Raises `InvalidBundle` where what is asked for is not possible."""
    if how.method == "occlusion":
        return Occluder(data, judge, how)
    try:
        return Explainer(data, judge, how)
    except InvalidBundle:
        if how.method != "auto" or how.layer:
            raise
        return Occluder(data, judge, how)


def told_explanation(definition: PipelineDefinition, data: Mapping[str, Any], judge: Judge) -> str:
    """For a person who checks the model: what is looked at, and how coarse its map is.

    Raises `InvalidBundle` where the definition asks for what is not possible.
    """
    asked = definition.explanation
    try:
        explainer = explainer_of(dict(data), judge, asked or Explanation())
    except InvalidBundle as error:
        if asked:
            raise
        return f"not possible ({str(error).removeprefix(TEXT)})"
    if isinstance(explainer, Occluder):
        image = data[judge.bundle.metadata.input_key]
        count = box_count(tuple(image.shape[1:]), explainer.boxes)
        told = f"{explainer.method} {explainer.means}, {count} answers of the network"
    else:
        named = "named" if asked and asked.layer else "found"
        size = " x ".join(map(str, explainer.map_shape))
        told = f"{explainer.method} at layer {explainer.layer} ({named}), whose map is {size}"
    return told if asked else f"not asked for; it would be {told}"
