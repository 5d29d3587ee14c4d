"""Labels that exclude each other and labels that overlap, seen alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipelines.labels import OverlappingLabels, mask_of, only, slice_counts, slice_mask, united

SHAPE = (3, 4, 5)
MASKS = st.dictionaries(st.integers(1, 20), arrays(np.bool_, SHAPE), min_size=1, max_size=6)


@given(MASKS)
@settings(max_examples=30, deadline=None)
def test_masks_that_overlap_come_back_as_they_were(masks: dict[int, NDArray[np.bool_]]) -> None:
    labels = OverlappingLabels.of(masks)
    assert labels.shape == SHAPE
    counts = slice_counts(labels, masks)
    for value, mask in masks.items():
        assert np.array_equal(mask_of(labels, value), mask)
        assert counts[value].tolist() == mask.sum(axis=(1, 2)).tolist()


@given(arrays(np.uint8, SHAPE, elements=st.integers(0, 5)))
@settings(max_examples=30, deadline=None)
def test_a_label_map_and_its_masks_say_the_same(label_map: NDArray[np.uint8]) -> None:
    overlapping = OverlappingLabels.of({value: label_map == value for value in range(1, 6)})
    for value in (1, 5, 9):
        assert np.array_equal(mask_of(label_map, value), mask_of(overlapping, value))
        assert np.array_equal(slice_mask(label_map, value, 1), slice_mask(overlapping, value, 1))
    counted = slice_counts(label_map, [1, 9]), slice_counts(overlapping, [1, 9])
    assert [counted[0][v].tolist() for v in (1, 9)] == [counted[1][v].tolist() for v in (1, 9)]


@pytest.mark.parametrize("value", [1, 9])
def test_only_what_is_wanted_is_kept(value: int) -> None:
    full = np.ones(SHAPE, dtype=np.bool_)
    kept = only(OverlappingLabels.of({1: full, 9: full}), [value])
    assert {v for v in (1, 9) if mask_of(kept, v).any()} == {value}


def test_structures_are_united_from_several_label_values() -> None:
    label_map = np.zeros(SHAPE, dtype=np.uint8)
    label_map[0], label_map[1], label_map[2] = 1, 2, 4
    whole = united(label_map, {2: (2, 1, 4), 1: (1, 4), 4: (4,)})
    assert [int(mask_of(whole, value).sum()) for value in (2, 1, 4)] == [60, 40, 20]
