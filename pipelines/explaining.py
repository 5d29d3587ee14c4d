"""The heat maps of a classifier's findings, one for each class that is present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.bundle import LoadedBundle
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.explanation_schema import Explanation
from pipelines.findings import Findings
from pipelines.gradcam import TEXT, Explainer
from pipelines.heat_map import HeatMap
from pipelines.series_volume import SeriesVolume
from pipelines.tilt import slice_by_slice
from storage.quantities import CERTAINTY


def explained(
    findings: Findings,
    definition: PipelineDefinition,
    data: dict[str, Any],
    bundle: LoadedBundle,
    volumes: tuple[SeriesVolume, SeriesVolume],
) -> Findings:
    """The findings with their heat maps, where the definition asks for them.

    `volumes` are the first input as it is, and upright. Raises what `Explainer` raises.
    """
    present = {m.label_value: m for m in findings.measurements if m.quantity == CERTAINTY}
    present = {output: m for output, m in present.items() if m.is_present}
    if definition.explanation is None or not present:
        return findings
    explainer = Explainer(data, bundle, definition.explanation)
    source, upright = volumes
    maps = tuple(
        HeatMap(
            label=found.structure,
            output=output,
            tracking_uid=found.tracking_uid,
            certainty_percent=found.value,
            method=explainer.method,
            layer=explainer.layer,
            values=slice_by_slice(explainer.source_map(output, upright), source),
        )
        for output, found in present.items()
    )
    return replace(findings, heat_maps=maps)


def told_explanation(
    definition: PipelineDefinition, data: Mapping[str, Any], bundle: LoadedBundle
) -> str:
    """For a person who checks the model: which layer is looked at, and how coarse its map is.

    Raises `InvalidBundle` where the definition asks for what is not possible.
    """
    asked = definition.explanation
    try:
        explainer = Explainer(dict(data), bundle, asked or Explanation())
    except InvalidBundle as error:
        if asked:
            raise
        return f"not possible ({str(error).removeprefix(TEXT)})"
    named = "named" if asked and asked.layer else "found"
    size = " x ".join(map(str, explainer.map_shape))
    told = f"{explainer.method} at layer {explainer.layer} ({named}), whose map is {size}"
    return told if asked else f"not asked for; it would be {told}"
