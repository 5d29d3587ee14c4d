"""Pixels outside the scanned circle: Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2).

They are compared as stored, before any rescale, and hold no measurement: a padding of -2000 in a
CT or of 63536 in an MR would spoil every percentile and mean that a model takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset


def padded_pixels(stored: NDArray[Any], image: Dataset) -> NDArray[np.bool_] | None:
    """Which stored pixels are padding; None when the image names no padding, or has none.

    Raises TypeError or ValueError when the attributes are no numbers.
    """
    first = image.get("PixelPaddingValue")
    if first is None or first == "":
        return None
    limit = image.get("PixelPaddingRangeLimit")
    last = first if limit is None or limit == "" else limit
    low, high = sorted((_as_stored(int(first), image), _as_stored(int(last), image)))
    is_padding: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return is_padding if bool(is_padding.any()) else None


def _as_stored(value: int, image: Dataset) -> int:
    """The number as pixels have it: some writers tell a negative one as unsigned (63536)."""
    bits = int(image.BitsAllocated)
    if int(image.PixelRepresentation) == 1 and value >= 1 << (bits - 1):
        return value - (1 << bits)
    return value


def filled(
    values: NDArray[np.float32], is_padding: NDArray[np.bool_], lowest: float | None
) -> NDArray[np.float32]:
    """The values with padding at `lowest`, or where that is None at the lowest measured value."""
    if lowest is None:
        measured = values[~is_padding]
        lowest = float(measured.min()) if measured.size else 0.0
    values[is_padding] = lowest
    return values
