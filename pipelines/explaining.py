"""The heat maps of a classifier's findings, one for each class that is present."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import structlog
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.class_cases import ClassCase, Picture
from pipelines.classifying import Judge
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.explanation_schema import Explanation
from pipelines.findings import Findings
from pipelines.gradcam import Explainer
from pipelines.heat_map import HeatMap
from pipelines.map_on_source import TEXT, on_source
from pipelines.occlusion import Occluder, TooLong
from pipelines.tilt import slice_by_slice
from storage.quantities import CERTAINTY
from storage.records import MeasurementRecord

log = structlog.get_logger()


def explained(
    findings: Findings, definition: PipelineDefinition, cases: Sequence[ClassCase], judge: Judge
) -> Findings:
    """The findings with their heat maps, where the definition asks for them.

    A class that is told of several answers is explained on each of the pictures that it is present
    on. Maps that take too long are left out, and a remark says so. Raises what `Explainer` raises.
    """
    how = definition.explanation
    present = [m for m in findings.measurements if m.quantity == CERTAINTY and m.is_present]
    if how is None or not present:
        return findings
    try:
        maps = tuple(
            one
            for case in cases
            for one in _heat_maps(_of_case(case, present, findings), case, judge, how)
        )
    except TooLong as error:
        log.warning("heat_maps_left_out", reason=str(error))
        return replace(findings, remark=f"No heat map: {error}")
    return replace(findings, heat_maps=maps)


def _of_case(
    case: ClassCase, present: Sequence[MeasurementRecord], findings: Findings
) -> list[MeasurementRecord]:
    """The classes that are present on the pictures of this case, and on no other."""
    roles = {picture.role for picture in case.pictures}
    found = {m.label_value: m for m in present if set(findings.pictures[m.tracking_uid]) == roles}
    return list(found.values())


def _heat_maps(
    present: Sequence[MeasurementRecord], case: ClassCase, judge: Judge, how: Explanation
) -> Iterator[HeatMap]:
    if not present:
        return
    explainer = explainer_of(case, judge, how)
    for found in present:
        for picture in case.pictures:
            yield HeatMap(
                label=found.structure,
                output=found.label_value,
                role=picture.role,
                tracking_uid=found.tracking_uid,
                certainty_percent=found.value,
                method=explainer.method,
                means=explainer.means,
                values=placed_map(explainer, found.label_value, picture, judge.bundle),
            )


def placed_map(
    explainer: Explainer | Occluder, output: int, picture: Picture, bundle: LoadedBundle
) -> NDArray[np.float32]:
    """The map of one output on the grid of a picture as it was read, [slice, row, column]."""
    values = explainer.network_map(output, picture.channels)
    placed = on_source(values, picture.data, bundle, picture.upright, key=picture.key)
    return slice_by_slice(placed, picture.source)


def explainer_of(case: ClassCase, judge: Judge, how: Explanation) -> Explainer | Occluder:
    """What makes the maps. Raises `InvalidBundle` where what is asked for is not possible.

    Of stacked pictures Grad-CAM has one map, whichever of them speaks; `auto` covers each alone.
    """
    is_stacked = len(case.pictures) > 1
    if how.method == "occlusion" or (how.method == "auto" and is_stacked and not how.layer):
        return Occluder(case.data, judge, how)
    try:
        return Explainer(case.data, judge, how)
    except InvalidBundle:
        if how.method != "auto" or how.layer:
            raise
        return Occluder(case.data, judge, how)


def told_explanation(definition: PipelineDefinition, case: ClassCase, judge: Judge) -> str:
    """For a person who checks the model: what is looked at, and how coarse its map is.

    Raises `InvalidBundle` where the definition asks for what is not possible.
    """
    asked = definition.explanation
    try:
        explainer = explainer_of(case, judge, asked or Explanation())
    except InvalidBundle as error:
        if asked:
            raise
        return f"not possible ({str(error).removeprefix(TEXT)})"
    told = _told(explainer, case, is_named=bool(asked and asked.layer))
    return told if asked else f"not asked for; it would be {told}"


def _told(explainer: Explainer | Occluder, case: ClassCase, *, is_named: bool) -> str:
    if isinstance(explainer, Occluder):
        count = len(case.pictures) * explainer.box_count
        return f"{explainer.method} {explainer.means}, {count} answers of the network"
    size = " x ".join(map(str, explainer.map_shape))
    named = "named" if is_named else "found"
    return f"{explainer.method} at layer {explainer.layer} ({named}), whose map is {size}"
