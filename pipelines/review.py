"""What the passes of a network add to its findings: how sure they are, and whether to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipelines.definition_schema import PipelineDefinition, SegmentDefinition
from pipelines.findings import Findings
from pipelines.objects.codes import MILLILITRE, ONE
from pipelines.uncertainty import Spread, Spreads
from pipelines.uncertainty_schema import ReviewLimits
from storage.records import (
    MEAN_ENTROPY,
    VOLUME_HIGHEST,
    VOLUME_LOWEST,
    MeasurementRecord,
)


def qualified(findings: Findings, definition: PipelineDefinition, spreads: Spreads) -> Findings:
    """The findings, with entropy and volume interval after each volume, and why to review them.

    The interval is scaled from the network's grid to the measured volume, which it always holds.
    """
    if definition.uncertainty is None:
        return findings
    limits = definition.uncertainty.review_above
    measured = {item.label_value: item for item in findings.measurements}
    reasons = [
        reason
        for segment in definition.segments
        for reason in _reasons(
            segment, measured[segment.label_value], spreads[segment.label_value], limits
        )
    ]
    measurements = tuple(
        record
        for volume in findings.measurements
        for record in (volume, *_qualifiers(volume, spreads[volume.label_value]))
    )
    return replace(findings, measurements=measurements, review="; ".join(reasons))


def _qualifiers(volume: MeasurementRecord, spread: Spread) -> Iterator[MeasurementRecord]:
    if not volume.is_present or spread.mean_entropy is None:
        return
    low, high = _interval_ml(volume.value, spread)
    yield replace(volume, quantity=MEAN_ENTROPY, value=spread.mean_entropy, unit=ONE)
    yield replace(volume, quantity=VOLUME_LOWEST, value=low, unit=MILLILITRE)
    yield replace(volume, quantity=VOLUME_HIGHEST, value=high, unit=MILLILITRE)


def _interval_ml(volume_ml: float, spread: Spread) -> tuple[float, float]:
    scale = volume_ml / spread.volume_ml if spread.volume_ml > 0 else 1.0
    return scale * spread.lowest_ml, scale * spread.highest_ml


def _reasons(
    segment: SegmentDefinition, volume: MeasurementRecord, spread: Spread, limits: ReviewLimits
) -> Iterator[str]:
    """Only where a limit is set; presence that hangs on the pass exceeds any volume spread."""
    entropy, widest = limits.entropy, limits.volume_spread
    if volume.is_present and entropy is not None and (spread.mean_entropy or 0.0) > entropy:
        yield f"{segment.label}: mean entropy {spread.mean_entropy:.3f} above {entropy:g}"
    if widest is None:
        return
    if not volume.is_present:
        if spread.highest_ml > max(segment.min_volume_ml, 0.0):
            yield f"{segment.label}: not found, but {spread.highest_ml:.3f} mL in another pass"
        return
    low, high = _interval_ml(volume.value, spread)
    if (high - low) / volume.value > widest:
        share = (high - low) / volume.value
        yield (
            f"{segment.label}: volume {low:.3f} to {high:.3f} mL, spread {share:.3f} "
            f"above {widest:g}"
        )
