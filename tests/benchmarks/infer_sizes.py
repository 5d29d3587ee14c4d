"""The volumes of the inference benchmark. Light: what measures others imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAME = "bench_unet"
"""Of the bundle."""

SLICES_CHECKED = 12


@dataclass(frozen=True, slots=True)
class Size:
    """(slices, rows, columns) and the millimetres between them."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def checked_slices(self) -> list[int]:
        """Slices, spread over all, that are compared where all are too many."""
        return [int(index) for index in np.linspace(0, self.shape[0] - 1, SLICES_CHECKED)]


SIZES = {
    "small": Size((24, 96, 96), (2.5, 1.2, 1.2)),
    "usual": Size((120, 400, 400), (2.5, 0.9375, 0.9375)),
    "large": Size((400, 512, 512), (1.0, 0.75, 0.75)),
}
