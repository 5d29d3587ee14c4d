"""What further passes of a classifier add to its findings: how sure it is, and whether to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipelines.class_passes import ClassSpread
from pipelines.objects.codes import ONE, PERCENT
from pipelines.uncertainty_schema import ReviewLimits
from storage.dicom_records import CodedConcept
from storage.quantities import (
    CERTAINTY,
    CERTAINTY_HIGHEST,
    CERTAINTY_LOWEST,
    CERTAINTY_MEAN,
    MUTUAL_INFORMATION,
    OPERATING_POINT,
    PREDICTIVE_ENTROPY,
)
from storage.records import MeasurementRecord

Spreads = Mapping[str, ClassSpread]
"""By the Tracking UID of the class."""


def with_spreads(
    measurements: tuple[MeasurementRecord, ...], spreads: Spreads
) -> tuple[MeasurementRecord, ...]:
    """The measurements; after the operating point of a class what its passes say."""
    return tuple(
        record
        for one in measurements
        for record in (one, *(_told(one, spreads) if one.quantity == OPERATING_POINT else ()))
    )


def review_of(
    measurements: tuple[MeasurementRecord, ...], spreads: Spreads, limits: ReviewLimits
) -> str:
    """Why somebody should look, empty where no limit is passed; absent classes count, too."""
    points = {
        one.tracking_uid: one.value for one in measurements if one.quantity == OPERATING_POINT
    }
    certain = [
        one for one in measurements if one.quantity == CERTAINTY and one.tracking_uid in spreads
    ]
    return "; ".join(
        f"{one.structure}: {reason}"
        for one in certain
        for reason in _reasons(spreads[one.tracking_uid], points[one.tracking_uid], limits)
    )


def _told(one: MeasurementRecord, spreads: Spreads) -> Iterator[MeasurementRecord]:
    spread = spreads.get(one.tracking_uid)
    if spread is None:
        return
    told: tuple[tuple[CodedConcept, float, CodedConcept], ...] = (
        (CERTAINTY_MEAN, 100.0 * spread.mean, PERCENT),
        (CERTAINTY_LOWEST, 100.0 * spread.lowest, PERCENT),
        (CERTAINTY_HIGHEST, 100.0 * spread.highest, PERCENT),
        (PREDICTIVE_ENTROPY, spread.predictive_entropy, ONE),
        (MUTUAL_INFORMATION, spread.mutual_information, ONE),
    )
    for quantity, value, unit in told:
        yield replace(one, quantity=quantity, value=value, unit=unit)


def _reasons(spread: ClassSpread, point_percent: float, limits: ReviewLimits) -> Iterator[str]:
    entropy, information = spread.predictive_entropy, spread.mutual_information
    if limits.entropy is not None and entropy > limits.entropy:
        yield f"predictive entropy {entropy:.3f} above {limits.entropy:g}"
    if limits.mutual_information is not None and information > limits.mutual_information:
        yield f"mutual information {information:.3f} above {limits.mutual_information:g}"
    if limits.certainty_spread is None:
        return
    low, high = 100.0 * spread.lowest, 100.0 * spread.highest
    interval = f"certainty {low:.1f} to {high:.1f} %"
    if spread.highest - spread.lowest > limits.certainty_spread:
        width = spread.highest - spread.lowest
        yield f"{interval}, spread {width:.3f} above {limits.certainty_spread:g}"
    elif low < point_percent <= high:
        yield f"{interval}, on both sides of its operating point of {point_percent:g} %"
