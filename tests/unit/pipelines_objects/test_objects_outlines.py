"""Outlines lie on the edge of a mask, and the mask can be had back from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

import pipelines.objects.outlines
from pipelines.objects.outlines import MOST_POINTS, filled, outlines, pieces

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_a_filled_outline_is_the_mask_again(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(filled(outlines(mask), mask.shape), mask)


@given(MASKS)
@settings(max_examples=50, deadline=None)
def test_no_point_is_further_than_a_pixel_from_the_edge(mask: NDArray[np.bool_]) -> None:
    fine = 8
    padded = np.pad(np.kron(mask, np.ones((fine, fine), dtype=np.bool_)), fine)
    inside = distance_transform_edt(padded)
    outside = distance_transform_edt(~padded)
    for line in outlines(mask):
        assert np.array_equal(line[0], line[-1])
        assert line.min() >= 0
        assert (line <= mask.shape[::-1]).all()
        between = np.linspace(line[:-1], line[1:], 5).reshape(-1, 2)
        column, row = (between.T * fine).astype(int) + fine
        from_edge_px = np.minimum(inside[row, column], 1e9) + np.minimum(outside[row, column], 1e9)
        assert from_edge_px.max() / fine <= 1


def test_holes_have_outlines_of_their_own() -> None:
    ring = np.zeros((20, 20), dtype=np.bool_)
    ring[3:17, 4:16] = True
    ring[8:12, 8:12] = False
    assert len(outlines(ring)) == 2
    assert np.array_equal(filled(outlines(ring), ring.shape), ring)


def test_a_straight_edge_needs_few_points() -> None:
    block = np.ones((300, 400), dtype=np.bool_)
    (line,) = outlines(block)
    assert len(line) <= 12
    assert (line.min(), line.max()) == (0, 400)


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((5, 5), dtype=np.bool_)) == ()


@pytest.mark.parametrize("count", [2, MOST_POINTS, MOST_POINTS + 1, 3 * MOST_POINTS])
def test_a_long_outline_is_parted_where_graphic_data_end(count: int) -> None:
    line = np.arange(2 * count, dtype=np.float32).reshape(-1, 2)
    parts = list(pieces(line))
    assert all(2 <= len(part) <= MOST_POINTS for part in parts)
    assert all(np.array_equal(one[-1], other[0]) for one, other in pairwise(parts))
    rest = [part[1:] for part in parts[1:]]
    assert np.array_equal(np.concatenate([parts[0], *rest]), line)


def test_a_part_fits_into_the_length_of_its_value() -> None:
    assert 2 * 4 * MOST_POINTS < 2**16


def test_an_outline_in_parts_is_still_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.objects.outlines, "MOST_POINTS", 7)
    comb = np.zeros((12, 60), dtype=np.bool_)
    comb[:, ::2] = True
    comb[0] = True
    lines = [part for line in outlines(comb) for part in pieces(line)]
    assert len(lines) > 20
    assert np.array_equal(filled(lines, comb.shape), comb)


def test_noise_is_outlined_exactly_and_left_as_it_is() -> None:
    noise = np.random.default_rng(1).random((200, 200)) > 0.5
    assert np.array_equal(filled(outlines(noise), noise.shape), noise)
