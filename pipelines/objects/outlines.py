"""Outlines of masks as closed polylines, and masks from outlines again.

Points are (column, row) as PIXEL of a presentation state has them (PS3.3 C.10.5): 0\\0 is the upper
left corner of the first pixel, so that its centre is 0.5\\0.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.float32]

DECIMATION_PX = 0.3
"""How far a point that is left out may lie from the line that stays. The centre of no pixel is as
near to its outline (a quarter of a diagonal, 0.35), so none changes sides."""

MOST_POINTS = 8191
"""Graphic Data is FL with a length of 16 bits in Explicit VR (PS3.5 7.1.2), two values a point."""

_FEW_POINTS = 10
_MOST_DECIMATED = 20_000
"""Points of one mask: noise has more, and to smooth it takes long and helps nobody."""


def outlines(mask: Mask) -> tuple[Points, ...]:
    """Give each closed outline of a mask [row, column], holes too; the first point is the last.

    They run through the middles of the edges between a pixel inside and one outside, and pixels
    that touch at a corner alone have outlines of their own.
    """
    # Imported where it is needed: it takes its time, and most jobs draw nothing.
    from skimage.measure import find_contours

    if not mask.any():
        return ()
    rows, columns = (np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    found = find_contours(np.pad(cut, 1).astype(np.float32), 0.5, fully_connected="low")
    # The padding took one pixel away, the centre of the first one gives a half back.
    shift = np.asarray([columns[0], rows[0]], dtype=np.float32) - 0.5
    lines = [_straightened(line[:, ::-1].astype(np.float32)) for line in found]
    if sum(map(len, lines)) <= _MOST_DECIMATED:
        lines = [_decimated(line) for line in lines]
    return tuple(line + shift for line in lines)


def pieces(outline: Points) -> Iterator[Points]:
    """Give an outline in parts that one graphic object can hold, each from the other's last point.

    The outline itself where it is short enough.
    """
    for first in range(0, len(outline) - 1, MOST_POINTS - 1):
        yield outline[first : first + MOST_POINTS]


def filled(lines: Iterable[Points], shape: tuple[int, int]) -> Mask:
    """Give the mask [row, column] whose pixel centres lie inside of lines: by even and odd.

    The lines may be parts of outlines, in any order.
    """
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    for line in lines:
        _cross(crossings, np.asarray(line, dtype=np.float64))
    inside: Mask = np.cumsum(crossings[:, :-1], axis=1) % 2 == 1
    return inside


def _cross(crossings: NDArray[np.int64], line: NDArray[np.float64]) -> None:
    """Count, at the first pixel to the right, where a line crosses the middles of the rows."""
    (x0, y0), (x1, y1) = line[:-1].T, line[1:].T
    first = np.ceil(np.minimum(y0, y1) - 0.5).astype(np.int64)
    counts = np.ceil(np.maximum(y0, y1) - 0.5).astype(np.int64) - first
    edges = np.repeat(np.arange(len(counts)), counts)
    rows = first[edges] + np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (rows + 0.5 - y0[edges]) / (y1 - y0)[edges]
    places = x0[edges] + share * (x1 - x0)[edges]
    np.add.at(crossings, (rows, np.ceil(places - 0.5).astype(np.int64)), 1)


def _straightened(line: Points) -> Points:
    """Leave out points between two others on a straight line; the ends stay."""
    (before, after) = np.diff(line[:-1], axis=0), np.diff(line[1:], axis=0)
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    kept: Points = line[np.concatenate([[True], turns, [True]])]
    return kept


def _decimated(line: Points) -> Points:
    """Leave out points of a closed line; of halves, since that needs two ends."""
    from skimage.measure import approximate_polygon

    if len(line) < _FEW_POINTS:
        return line
    middle = int(np.hypot(*(line - line[0]).T).argmax())
    there = approximate_polygon(line[: middle + 1], DECIMATION_PX)
    back = approximate_polygon(line[middle:], DECIMATION_PX)
    kept: Points = np.concatenate([there, back[1:]]).astype(np.float32)
    return kept
