"""Which voxels belong to which structure: one label value a voxel, or several that overlap.

A label map holds one value for each voxel (softmax heads, relabelled answers). A voxel of a
sigmoid head can belong to several structures at once (whole tumour, tumour core): such answers
are kept as one bit for each label value, so that a hundred structures cost 13 bytes a voxel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LabelMap = NDArray[np.uint8] | NDArray[np.uint16]
Mask = NDArray[np.bool_]

BITS = 8


@dataclass(frozen=True, eq=False)
class OverlappingLabels:
    """Label values that may share voxels.

    `bits` is uint8 [byte, slice, row, column]: label value v is bit (v - 1) % 8, counted from the
    lowest, of byte (v - 1) // 8.
    """

    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, masks: Mapping[int, Mask]) -> OverlappingLabels:
        """Pack masks [slice, row, column] of one shape by label value (from 1)."""
        shape = next(iter(masks.values())).shape
        bits = np.zeros((-(-max(masks) // BITS), *shape), dtype=np.uint8)
        for value, mask in masks.items():
            byte, bit = divmod(value - 1, BITS)
            bits[byte] |= mask.astype(np.uint8) << np.uint8(bit)
        return cls(bits)

    @property
    def shape(self) -> tuple[int, ...]:
        """(slices, rows, columns)."""
        return self.bits.shape[1:]


Labels = LabelMap | OverlappingLabels


def slice_mask(labels: Labels, label_value: int, index: int) -> Mask:
    """The pixels [row, column] of one label value on slice `index`."""
    if not isinstance(labels, OverlappingLabels):
        mask: Mask = labels[index] == label_value
        return mask
    byte, bit = divmod(label_value - 1, BITS)
    if byte >= len(labels.bits):
        return np.zeros(labels.shape[1:], dtype=np.bool_)
    found: Mask = (labels.bits[byte, index] & np.uint8(1 << bit)) != 0
    return found


def mask_of(labels: Labels, label_value: int) -> Mask:
    """The voxels [slice, row, column] of one label value."""
    masks = [slice_mask(labels, label_value, index) for index in range(labels.shape[0])]
    return np.stack(masks)


def occupied(labels: Labels) -> NDArray[Any]:
    """Something above 0 wherever any label is, [slice, row, column]."""
    if isinstance(labels, OverlappingLabels):
        anywhere: NDArray[np.uint8] = np.bitwise_or.reduce(labels.bits, axis=0)
        return anywhere
    return labels


def slice_counts(labels: Labels, label_values: Iterable[int]) -> dict[int, NDArray[np.int64]]:
    """How many voxels of each label value every slice has."""
    wanted = tuple(label_values)
    if isinstance(labels, OverlappingLabels):
        slices = range(labels.shape[0])
        return {
            value: np.asarray([np.count_nonzero(slice_mask(labels, value, i)) for i in slices])
            for value in wanted
        }
    length = max(wanted, default=0) + 1
    # Slice by slice: counting makes a copy of eight bytes a voxel.
    counts = np.stack([np.bincount(plane.ravel(), minlength=length)[:length] for plane in labels])
    return {value: counts[:, value] for value in wanted}


def only(labels: Labels, label_values: Collection[int]) -> Labels:
    """A copy in which every other label value is absent."""
    if isinstance(labels, OverlappingLabels):
        kept = np.zeros((len(labels.bits), 1, 1, 1), dtype=np.uint8)
        for value in label_values:
            byte, bit = divmod(value - 1, BITS)
            kept[byte] |= np.uint8(1 << bit)
        return OverlappingLabels(labels.bits & kept)
    copy: Any = labels.copy()
    copy[~np.isin(labels, list(label_values))] = 0
    result: LabelMap = copy
    return result


def united(labels: Labels, groups: Mapping[int, Collection[int]]) -> OverlappingLabels:
    """Structures that are made of several label values, and may share them.

    `groups` maps the value of each structure to all label values that belong to it.
    """
    masks: dict[int, Mask] = {}
    for value, members in groups.items():
        first, *others = members
        masks[value] = mask_of(labels, first)
        for other in others:
            masks[value] |= mask_of(labels, other)
    return OverlappingLabels.of(masks)
