"""What the probabilities of a classifier say in the words of the definition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.class_groups import ClassGroup
from pipelines.definition_schema import Calibration, ClassDefinition, PipelineDefinition
from pipelines.findings import Findings
from pipelines.objects.codes import PERCENT
from pipelines.objects.uids import tracking_uid
from storage.quantities import CERTAINTY, OPERATING_POINT
from storage.records import MeasurementRecord, Outcome

SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1, where log-odds end."""


def find_classes(
    definition: PipelineDefinition,
    groups: Sequence[ClassGroup],
    shape: tuple[int, ...],
    *,
    input_digest: str,
    pipeline_digest: str,
) -> Findings:
    """Calibrated certainties in percent; a class is present from its operating point on.

    `groups` are the answers to tell, of which the first pass is the result; `shape` is that of the
    image, of which no voxel gets a label.
    """
    records: list[MeasurementRecord] = []
    pictures: dict[str, tuple[str, ...]] = {}
    for one in definition.classes:
        for group in groups:
            probability = calibrated(float(group.probabilities[0, one.output]), one.calibration)
            uid = tracking_uid(input_digest, pipeline_digest, one.output, group.name)
            records += _records(one, group, probability, uid)
            pictures[uid] = group.roles
    is_found = any(record.is_present for record in records)
    return Findings(
        outcome=Outcome.FINDINGS if is_found else Outcome.NO_FINDINGS,
        label_map=np.zeros(shape, dtype=np.uint8),
        structures=(),
        measurements=tuple(records),
        pictures=pictures,
    )


def calibrated(probability: float, calibration: Calibration) -> float:
    """Platt scaling of the log-odds of a probability; exactly itself where a is 1 and b is 0."""
    if calibration == Calibration():
        return probability
    inside = min(max(probability, SMALLEST), 1.0 - SMALLEST)
    odds = calibration.a * math.log(inside / (1.0 - inside)) + calibration.b
    # Of the two forms, the one whose exponential cannot overflow.
    return 1.0 / (1.0 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1.0 + math.exp(odds))


def _records(
    one: ClassDefinition, group: ClassGroup, probability: float, uid: str
) -> Iterator[MeasurementRecord]:
    told = ((CERTAINTY, probability), (OPERATING_POINT, one.operating_point))
    for quantity, value in told:
        yield MeasurementRecord(
            structure=f"{one.label} ({group.name})" if group.name else one.label,
            segment_number=None,
            label_value=one.output,
            tracking_identifier=f"{one.tracking_id} {group.name}".rstrip(),
            tracking_uid=uid,
            category=one.category.concept(),
            property_type=one.type.concept(),
            type_modifier=group.side,
            anatomic_region=one.anatomic_region.concept() if one.anatomic_region else None,
            quantity=quantity,
            value=100.0 * value,
            unit=PERCENT,
            is_present=probability >= one.operating_point,
        )
