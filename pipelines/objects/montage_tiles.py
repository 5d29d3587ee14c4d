"""One tile of a montage: a grey slice, enlarged smoothly, with its segments drawn over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.objects.source_series import SourcePlane

Rgb = tuple[int, int, int]
Pixels = NDArray[np.float32]

_SUPERSAMPLING = 2
_FILL_OPACITY = 0.30
_CONTOUR_OPACITY = 0.95
_CONTOUR_PX = 2.0
_AXES = (("L", "R"), ("P", "A"), ("S", "I"))
"""Letters of the positive and the negative end of each LPS axis."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of each slice that is shown, in pixels: [first, last) rows and columns."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Cut the window out of [row, column]."""
        cut: NDArray[Any] = pixels[
            self.first_row : self.last_row, self.first_column : self.last_column
        ]
        return cut

    def size_px(self, spacing_mm: tuple[float, float], longest_px: int) -> tuple[int, int]:
        """Give width and height in screen pixels, true to the millimetre."""
        height = (self.last_row - self.first_row) * spacing_mm[0]
        width = (self.last_column - self.first_column) * spacing_mm[1]
        scale = longest_px / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def window_around(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float], margin_mm: float
) -> Window:
    """Give the smallest square window (in mm, clipped to the image) that holds mask and margin.

    `mask` is [row, column], the union over all slices.
    """
    centre, half = [], 0.0
    for axis, spacing in enumerate(spacing_mm):
        used = np.flatnonzero(mask.any(axis=1 - axis))
        centre.append((used[0] + used[-1] + 1) / 2)
        half = max(half, (used[-1] + 1 - used[0]) / 2 * spacing + margin_mm)
    bounds = []
    for axis, spacing in enumerate(spacing_mm):
        first = max(0, int(np.floor(centre[axis] - half / spacing)))
        last = min(mask.shape[axis], int(np.ceil(centre[axis] + half / spacing)))
        bounds += [first, last]
    return Window(*bounds)


def grey(pixels: Pixels, darkest: float, brightest: float, size: tuple[int, int]) -> Pixels:
    """Enlarge a slice smoothly and give 0..1 [y, x]."""
    scaled = (pixels - darkest) / max(brightest - darkest, 1e-6)
    enlarged = _enlarged(scaled.astype(np.float32), size, Image.Resampling.BICUBIC)
    return np.clip(enlarged, 0.0, 1.0)


def drawn_over(background: Pixels, masks: Mapping[int, Pixels], colours: Mapping[int, Rgb]) -> Any:
    """Draw masks [row, column] (0 or 1) over a grey tile [y, x]; gives a Pillow image.

    Each segment is a translucent fill with a firm contour, drawn at twice the size and reduced,
    so that edges are smooth.
    """
    height, width = background.shape
    size = (width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    canvas = np.repeat(
        _enlarged(background, size, Image.Resampling.BILINEAR)[..., None] * 255.0, 3, axis=2
    )
    for number, mask in masks.items():
        level = _enlarged(mask, size, Image.Resampling.BICUBIC)
        colour = np.asarray(colours[number], dtype=np.float32)
        for opacity in (_FILL_OPACITY * (level > 0.5), _CONTOUR_OPACITY * _contour(level)):
            canvas = canvas * (1 - opacity[..., None]) + colour * opacity[..., None]
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def edge_letters(plane: SourcePlane) -> tuple[str, str]:
    """Give the patient direction at the left and at the top edge of a slice, such as R and A."""
    return _letter(-plane.row_direction), _letter(-plane.column_direction)


def _letter(direction: NDArray[np.float64]) -> str:
    axis = int(np.abs(direction).argmax())
    return _AXES[axis][0] if direction[axis] > 0 else _AXES[axis][1]


def _contour(level: Pixels) -> Pixels:
    """Give 1 within `_CONTOUR_PX` of the level 0.5, by distance over the local slope."""
    down, right = np.gradient(level)
    distance = np.abs(level - 0.5) / np.maximum(np.hypot(down, right), 1e-4)
    contour: Pixels = (distance < _CONTOUR_PX * _SUPERSAMPLING / 2).astype(np.float32)
    return contour


def _enlarged(pixels: Pixels, size: tuple[int, int], filter_: Image.Resampling) -> Pixels:
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    enlarged: Pixels = np.asarray(picture.resize(size, filter_), dtype=np.float32)
    return enlarged
