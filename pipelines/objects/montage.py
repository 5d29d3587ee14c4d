"""A picture of a result for people: slices through the structures, drawn over, with a legend.

Two-dimensional slices only, cut to the structures, and no patient data: it may be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.objects.decoded_segmentation import DecodedSegmentation, decode_segmentation
from pipelines.objects.montage_tiles import (
    Rgb,
    Window,
    drawn_over,
    edge_letters,
    grey,
    window_around,
)
from pipelines.objects.report_evaluations import NOT_REVIEWED
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series
from storage.instance_files import durable_write

_BACKGROUND: Rgb = (14, 17, 22)
_CHIP = (8, 10, 14, 150)
_TEXT: Rgb = (232, 236, 241)
_FAINT: Rgb = (148, 158, 170)
_TILE_PX = 320
_GAP_PX = 10
_PADDING_PX = 28
_MARGIN_MM = 12.0
_GREY_PERCENTILES = (0.5, 99.7)


@dataclass(frozen=True, slots=True)
class _LegendEntry:
    number: int
    label: str
    colour: Rgb
    volume_ml: float


def write_montage(
    image_paths: Sequence[Path],
    seg_path: Path,
    png_path: Path,
    *,
    columns: int = 4,
    tiles: int = 8,
    title: str | None = None,
) -> None:
    """Write a PNG with up to `tiles` slices of a series and the segments of a SEG over them.

    Raises `Refused` when the images are no volume, one of `decoded_segmentation.UNREADABLE` when
    the SEG cannot be read, and ValueError when it lies on other images.
    """
    volume = read_series(image_paths, ReadingPolicy(allow_derived=True))
    segmentation = decode_segmentation(seg_path)
    masks = _masks_on(volume, segmentation)
    entries = _legend_entries(segmentation)
    shown = _slices_to_show(masks, tiles)
    pictures = _pictures(volume, masks, shown, {entry.number: entry.colour for entry in entries})
    sheet = _sheet(pictures, entries, columns, title)
    buffer = BytesIO()
    sheet.save(buffer, format="PNG")
    durable_write(png_path, buffer.getvalue())


def _masks_on(
    volume: SeriesVolume, segmentation: DecodedSegmentation
) -> dict[int, NDArray[np.float32]]:
    """Give each segment as [slice, row, column], placed by the images that its frames reference."""
    slices = {
        (plane.sop_instance_uid, plane.frame_number): index
        for index, plane in enumerate(volume.source.planes())
    }
    masks: dict[int, NDArray[np.float32]] = {}
    for frame in segmentation.frames:
        key = frame.plane.sop_instance_uid, frame.plane.frame_number
        if (
            key not in slices
            or (frame.pixels.rows, frame.pixels.columns) != volume.voxels.shape[1:]
        ):
            raise ValueError("the SEG was drawn on other images")
        empty = np.zeros(volume.voxels.shape, dtype=np.float32)
        masks.setdefault(frame.segment_number, empty)[slices[key]] = frame.mask
    return dict(sorted(masks.items()))


def _legend_entries(segmentation: DecodedSegmentation) -> list[_LegendEntry]:
    return [
        _LegendEntry(
            number=int(item.SegmentNumber),
            label=str(item.SegmentLabel),
            colour=_colour(item.RecommendedDisplayCIELabValue),
            volume_ml=segmentation.voxel_count(int(item.SegmentNumber))
            * segmentation.voxel_volume_ml,
        )
        for item in segmentation.dataset.SegmentSequence
    ]


def _colour(value: Sequence[int]) -> Rgb:
    red, green, blue = hd.color.CIELabColor.from_dicom_value(tuple(value)).to_rgb(clip=True)
    return int(red), int(green), int(blue)


def _slices_to_show(masks: dict[int, NDArray[np.float32]], tiles: int) -> list[int]:
    """Spread the tiles evenly over the slices that hold anything."""
    used = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in masks.values()], axis=0))
    picks = np.linspace(0, len(used) - 1, min(tiles, len(used)))
    return [int(used[round(pick)]) for pick in picks]


def _pictures(
    volume: SeriesVolume,
    masks: dict[int, NDArray[np.float32]],
    shown: Sequence[int],
    colours: dict[int, Rgb],
) -> list[Any]:
    planes = volume.source.planes()
    spacing = planes[0].spacing_mm
    union = np.any([mask.any(axis=0) for mask in masks.values()], axis=0)
    window = window_around(union, spacing, _MARGIN_MM)
    size = window.size_px(spacing, _TILE_PX)
    darkest, brightest = _grey_range(volume, shown, window)
    pictures = []
    for index in shown:
        background = grey(window.of(volume.voxels[index]), darkest, brightest, size)
        cut = {number: window.of(mask[index]) for number, mask in masks.items()}
        picture = drawn_over(background, cut, colours)
        caption = f"slice {index + 1} of {len(planes)}"
        _write_captions(picture, caption, edge_letters(planes[index]))
        pictures.append(picture)
    return pictures


def _grey_range(volume: SeriesVolume, shown: Sequence[int], window: Window) -> tuple[float, float]:
    values = np.concatenate([window.of(volume.voxels[index]).ravel() for index in shown])
    darkest, brightest = np.percentile(values, _GREY_PERCENTILES)
    return float(darkest), float(brightest)


def _write_captions(picture: Any, caption: str, letters: tuple[str, str]) -> None:
    draw = ImageDraw.Draw(picture, "RGBA")
    width, height = picture.size
    _write_chip(draw, (12, height - 11), caption, "ls")
    _write_chip(draw, (12, height / 2), letters[0], "lm")
    _write_chip(draw, (width / 2, 11), letters[1], "mt")


def _write_chip(draw: Any, place: tuple[float, float], text: str, anchor: str) -> None:
    """Write a text on a translucent dark ground, readable on any grey."""
    left, top, right, bottom = draw.textbbox(place, text, _font(13), anchor=anchor)
    draw.rounded_rectangle((left - 5, top - 4, right + 5, bottom + 4), 4, _CHIP)
    draw.text(place, text, _TEXT, _font(13), anchor=anchor)


def _sheet(
    pictures: Sequence[Any], entries: Sequence[_LegendEntry], columns: int, title: str | None
) -> Any:
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    tile_width, tile_height = pictures[0].size
    header = 52 if title else 0
    legend = 44 + 30 * len(entries)
    width = max(2 * _PADDING_PX + columns * tile_width + (columns - 1) * _GAP_PX, 560)
    top = _PADDING_PX + header
    grid = rows * tile_height + (rows - 1) * _GAP_PX
    sheet = Image.new("RGB", (width, top + grid + legend + _PADDING_PX), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_PADDING_PX, _PADDING_PX), title, _TEXT, _font(24), anchor="lt")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        place = (
            _PADDING_PX + column * (tile_width + _GAP_PX),
            top + row * (tile_height + _GAP_PX),
        )
        sheet.paste(picture, place)
    _draw_legend(draw, entries, top + grid + 22, width)
    return sheet


def _draw_legend(draw: Any, entries: Sequence[_LegendEntry], top: int, width: int) -> None:
    right = width - _PADDING_PX
    for number, entry in enumerate(entries):
        y = top + 30 * number
        draw.rounded_rectangle((_PADDING_PX, y, _PADDING_PX + 18, y + 18), 4, entry.colour)
        draw.text((_PADDING_PX + 30, y + 9), entry.label, _TEXT, _font(17), anchor="lm")
        volume = f"{entry.volume_ml:.2f} mL"
        draw.text((_PADDING_PX + 330, y + 9), volume, _TEXT, _font(17), anchor="rm")
    bottom = top + 30 * len(entries) + 14
    draw.text((right, bottom), NOT_REVIEWED, _FAINT, _font(14), anchor="rm")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
