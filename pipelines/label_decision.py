"""From the processed answer of a bundle to labels: which value a voxel has, or which several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.errors import InferenceFailed
from pipelines.labels import LabelMap, Labels, OverlappingLabels

WHOLE_NUMBER_WITHIN = 1e-3
EVEN_ODDS = 0.5
SUM_WITHIN = 1e-3


def decided_labels(values: NDArray[Any], bundle: LoadedBundle) -> Labels:
    """Labels [slice, row, column] of an answer [channel, slice, row, column].

    One channel holds label values, or a probability. Several are classes that exclude each other
    (softmax, or channel 0 is background), or structures that may overlap: then the label value
    is the channel's index, counted from 1 where no channel is background. Raises
    `InferenceFailed` for values that are no labels of the bundle.
    """
    if len(values) == 1:
        return _label_map(values[0], bundle)
    known = len(bundle.metadata.channels)
    if known and len(values) != known:
        raise InferenceFailed(
            f"the bundle answers {len(values)} channels, its channel_def has {known}"
        )
    if _excludes(values, bundle):
        return checked_label_map(np.argmax(values, axis=0), bundle)
    return _masks(values, bundle)


def _label_map(values: NDArray[Any], bundle: LoadedBundle) -> LabelMap:
    if bundle.chain.head == "sigmoid" and not _is_whole(values):
        return checked_label_map(values >= EVEN_ODDS, bundle)
    return checked_label_map(values, bundle)


def _excludes(values: NDArray[Any], bundle: LoadedBundle) -> bool:
    """Whether a voxel has one class only."""
    if bundle.chain.head != "unknown":
        return bundle.chain.head == "softmax"
    if bundle.metadata.has_background:
        return True
    if values.min() < 0.0 or values.max() > 1.0:
        raise InferenceFailed(
            f"the bundle answers {len(values)} channels that may overlap, and neither they nor "
            "its postprocessing tell which voxels belong to a structure"
        )
    return bool(np.abs(values.sum(axis=0) - 1.0).max() <= SUM_WITHIN)


def _masks(values: NDArray[Any], bundle: LoadedBundle) -> OverlappingLabels:
    has_background = bundle.metadata.has_background
    first = 0 if has_background else 1
    return OverlappingLabels.of(
        {
            index + first: channel >= EVEN_ODDS
            for index, channel in enumerate(values)
            if index + first > 0
        }
    )


def _is_whole(values: NDArray[Any]) -> bool:
    return bool(np.all(np.abs(values - np.rint(values)) <= WHOLE_NUMBER_WITHIN))


def checked_label_map(values: NDArray[Any], bundle: LoadedBundle) -> LabelMap:
    """Label values [slice, row, column], checked to be whole, and values of the bundle.

    Raises `InferenceFailed`.
    """
    if values.dtype.kind == "f" and not _is_whole(values):
        raise InferenceFailed("the bundle's answer is no label map: its values are not whole")
    whole = np.rint(values) if values.dtype.kind == "f" else values
    # Slice by slice: a sorted or wider copy of a whole volume would cost gigabytes.
    found = {int(value) for plane in whole for value in np.unique(plane)}
    lowest, highest = min(found), max(found)
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise InferenceFailed(f"label values from {lowest} to {highest} cannot be kept")
    unknown = sorted(found - set(bundle.metadata.channels))
    if bundle.metadata.has_background and unknown:
        raise InferenceFailed(
            f"label values {unknown} are not in the bundle's channel_def, which names "
            f"{sorted(bundle.metadata.channels)}; mend its metadata.json"
        )
    dtype = np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16
    labels: LabelMap = np.ascontiguousarray(whole.astype(dtype))
    return labels
