"""Quantities of labels. Volumes only: voxels counted, times the volume of one voxel."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.labels import Labels, slice_counts


def volumes_ml(
    labels: Labels, voxel_volume_ml: float, label_values: Iterable[int]
) -> dict[int, float]:
    """Volume in mL of each label value; 0 when absent."""
    counts = slice_counts(labels, label_values)
    return {value: float(found.sum()) * voxel_volume_ml for value, found in counts.items()}
