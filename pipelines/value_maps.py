"""The values of heat maps, for destinations that want them as Parametric Maps: one for each map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import structlog

from pipelines.definition_schema import PipelineDefinition
from pipelines.heat_map import HeatMap
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.parametric_map import MapRequest
from pipelines.objects.uids import ResultUids, heat_uid
from pipelines.series_volume import SeriesVolume

_BEHIND_REPORT = 6

log = structlog.get_logger()


def value_maps(
    definition: PipelineDefinition,
    volumes: Mapping[str, SeriesVolume],
    uids: ResultUids,
    origin: Origin,
    maps: Sequence[HeatMap],
) -> Iterator[MapRequest]:
    """What each map of a volume is written as; a projection has no place for one."""
    number = definition.report_series_number + _BEHIND_REPORT
    text = f"{definition.series_description} heat map values"
    for instance, heat in enumerate(maps, start=1):
        volume = volumes[heat.role]
        if volume.is_projection:
            log.info("object_not_made", kind="PM", reason="an X-ray has no frame of reference")
            continue
        uid = heat_uid(uids.pm_series, heat.output, heat.role, 0)
        identity = ResultIdentity(uid, uids.pm_series, number, text)
        organization = uids.pm_dimension_organization
        yield MapRequest(volume, heat, identity, organization, instance, origin)
