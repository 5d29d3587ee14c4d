"""What a label map says in the words of the definition: structures, present or absent, measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.definition_schema import PipelineDefinition, SegmentDefinition
from pipelines.heat_map import HeatMap
from pipelines.labels import Labels, only, united
from pipelines.measurements import volumes_ml
from pipelines.objects.codes import MILLILITRE, VOLUME
from pipelines.objects.description import SegmentDescription, numbered
from pipelines.objects.uids import tracking_uid
from storage.records import MeasurementRecord, Outcome

NOT_NUMBERED = 0


@dataclass(frozen=True, eq=False)
class Findings:
    """One outcome for SEG, SR and FHIR alike.

    `label_map` holds the present structures only. `structures` are numbered 1..N;
    `measurements` has one volume for every structure of the definition, absent ones with 0.
    `review` says why somebody should look at the result; empty where nothing calls for it.
    `heat_maps` say what the classes that are present hang on, where the definition asks for it.
    `remark` says what is missing beside them. `pictures` are the roles of the images that a class
    was found on, by its Tracking UID.
    """

    outcome: Outcome
    label_map: Labels
    structures: tuple[SegmentDescription, ...]
    measurements: tuple[MeasurementRecord, ...]
    review: str = ""
    heat_maps: tuple[HeatMap, ...] = ()
    remark: str = ""
    pictures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find(
    definition: PipelineDefinition,
    label_map: Labels,
    voxel_volume_ml: float,
    *,
    input_digest: str,
    pipeline_digest: str,
) -> Findings:
    """Decide which structures are present and measure them.

    A structure is present when it has a voxel and at least its `min_volume_ml`.
    """
    segments = definition.segments
    if any(item.also for item in segments):
        label_map = united(label_map, {i.label_value: (i.label_value, *i.also) for i in segments})
    volumes = volumes_ml(label_map, voxel_volume_ml, (item.label_value for item in segments))
    present = {
        item.label_value: volumes[item.label_value]
        for item in segments
        if volumes[item.label_value] > 0 and volumes[item.label_value] >= item.min_volume_ml
    }
    described = [_described(item, input_digest, pipeline_digest) for item in segments]
    structures = numbered(described, present)
    numbers = {item.label_value: item.segment_number for item in structures}
    return Findings(
        outcome=Outcome.FINDINGS if structures else Outcome.NO_FINDINGS,
        label_map=only(label_map, present),
        structures=structures,
        measurements=tuple(
            _volume(item, numbers.get(item.label_value), present.get(item.label_value, 0.0))
            for item in described
        ),
    )


def _described(
    item: SegmentDefinition, input_digest: str, pipeline_digest: str
) -> SegmentDescription:
    return SegmentDescription(
        label_value=item.label_value,
        segment_number=NOT_NUMBERED,
        label=item.label,
        category=item.category.concept(),
        property_type=item.type.concept(),
        type_modifier=item.type_modifier.concept() if item.type_modifier else None,
        anatomic_region=item.anatomic_region.concept() if item.anatomic_region else None,
        color_rgb=item.color_rgb,
        tracking_identifier=item.tracking_id,
        tracking_uid=tracking_uid(input_digest, pipeline_digest, item.label_value),
    )


def _volume(
    item: SegmentDescription, segment_number: int | None, value_ml: float
) -> MeasurementRecord:
    return MeasurementRecord(
        structure=item.label,
        segment_number=segment_number,
        label_value=item.label_value,
        tracking_identifier=item.tracking_identifier,
        tracking_uid=item.tracking_uid,
        category=item.category,
        property_type=item.property_type,
        type_modifier=item.type_modifier,
        anatomic_region=item.anatomic_region,
        quantity=VOLUME,
        value=value_ml,
        unit=MILLILITRE,
        is_present=segment_number is not None,
    )
