"""Outlines of masks as closed polylines, and masks from outlines again.

Points are (column, row) as PIXEL of a presentation state has them (PS3.3 C.10.5): 0\\0 is the upper
left corner of the first pixel, so that its centre is 0.5\\0.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

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
    return tuple(_decimated(line[:, ::-1]) + shift for line in found)


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
    for (x0, y0), (x1, y1) in pairwise(line):
        first, last = sorted((y0, y1))
        rows = np.arange(int(np.ceil(first - 0.5)), int(np.ceil(last - 0.5)))
        if not rows.size:
            continue
        places = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        np.add.at(crossings, (rows, np.ceil(places - 0.5).astype(np.int64)), 1)


def _decimated(line: NDArray[Any]) -> Points:
    """Leave out points of a closed line; halves, since a line needs two ends."""
    from skimage.measure import approximate_polygon

    if len(line) < _FEW_POINTS:
        return line.astype(np.float32)
    middle = int(np.hypot(*(line - line[0]).T).argmax())
    there = approximate_polygon(line[: middle + 1], DECIMATION_PX)
    back = approximate_polygon(line[middle:], DECIMATION_PX)
    kept: Points = np.concatenate([there, back[1:]]).astype(np.float32)
    return kept
