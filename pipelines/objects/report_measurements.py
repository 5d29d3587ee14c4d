"""Measurements of one thing that was found, as all groups of a report have them."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd

from pipelines.objects.codes import coded
from storage.records import AlgorithmIdentity, MeasurementRecord


def report_measurements(
    quantities: Sequence[MeasurementRecord], algorithm: AlgorithmIdentity
) -> list[hd.sr.Measurement]:
    """Give one measurement for each quantity, with the algorithm that made it (TID 1419)."""
    # Here, and not in the group: every edition of the template has a row for it here.
    made_by = hd.sr.AlgorithmIdentification(name=algorithm.name, version=algorithm.version)
    return [
        hd.sr.Measurement(
            name=coded(item.quantity),
            # A product of floats has digits that mean nothing, and DS only 16 characters.
            value=float(f"{item.value:.9g}"),
            unit=coded(item.unit),
            algorithm_id=made_by,
        )
        for item in quantities
    ]
