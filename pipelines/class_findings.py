"""What the probabilities of a classifier say in the words of the definition."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

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
    probabilities: NDArray[np.float64],
    shape: tuple[int, ...],
    *,
    input_digest: str,
    pipeline_digest: str,
) -> Findings:
    """Calibrated certainties in percent; a class is present from its operating point on.

    `probabilities` has one for each output of the model; `shape` is that of the image, of which
    no voxel gets a label.
    """
    records: list[MeasurementRecord] = []
    for one in definition.classes:
        probability = calibrated(float(probabilities[one.output]), one.calibration)
        uid = tracking_uid(input_digest, pipeline_digest, one.output)
        records += _records(one, probability, uid)
    is_found = any(record.is_present for record in records)
    return Findings(
        outcome=Outcome.FINDINGS if is_found else Outcome.NO_FINDINGS,
        label_map=np.zeros(shape, dtype=np.uint8),
        structures=(),
        measurements=tuple(records),
    )


def calibrated(probability: float, calibration: Calibration) -> float:
    """Platt scaling of the log-odds of a probability; exactly itself where a is 1 and b is 0."""
    if calibration == Calibration():
        return probability
    inside = min(max(probability, SMALLEST), 1.0 - SMALLEST)
    odds = calibration.a * math.log(inside / (1.0 - inside)) + calibration.b
    # Of the two forms, the one whose exponential cannot overflow.
    return 1.0 / (1.0 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1.0 + math.exp(odds))


def _records(one: ClassDefinition, probability: float, uid: str) -> Iterator[MeasurementRecord]:
    told = ((CERTAINTY, probability), (OPERATING_POINT, one.operating_point))
    for quantity, value in told:
        yield MeasurementRecord(
            structure=one.label,
            segment_number=None,
            label_value=one.output,
            tracking_identifier=one.tracking_id,
            tracking_uid=uid,
            category=one.category.concept(),
            property_type=one.type.concept(),
            type_modifier=None,
            anatomic_region=one.anatomic_region.concept() if one.anatomic_region else None,
            quantity=quantity,
            value=100.0 * value,
            unit=PERCENT,
            is_present=probability >= one.operating_point,
        )
