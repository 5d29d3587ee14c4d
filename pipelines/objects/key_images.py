"""Slices for people: the ones that show the structures, drawn over; or a few, when none is there.

Two-dimensional slices only, cut to the structures, and no patient data: they may be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.objects.decoded_segmentation import DecodedSegmentation, SegmentationFrame
from pipelines.objects.montage_tiles import (
    Rgb,
    Window,
    drawn_over,
    edge_letters,
    grey,
    window_around,
)
from pipelines.projection_views import Side, edge_letters_of, side_of, view_of
from pipelines.series_volume import SeriesVolume

TEXT_COLOUR: Rgb = (232, 236, 241)
_CHIP = (8, 10, 14, 150)
_TILE_PX = 320
_MARGIN_MM = 12.0
_GREY_PERCENTILES = (0.5, 99.7)


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One segment of the SEG: number, label, display colour, volume."""

    number: int
    label: str
    colour: Rgb
    volume_ml: float


@dataclass(frozen=True, eq=False)
class KeyImages:
    """Pillow pictures of one size, which slices (0-based) they show, and what the colours mean."""

    pictures: tuple[Any, ...]
    slices: tuple[int, ...]
    legend: tuple[LegendEntry, ...]
    remarks: tuple[str, ...] = ()


def key_images(
    volume: SeriesVolume, segmentation: DecodedSegmentation | None, most: int
) -> KeyImages:
    """Give up to `most` slices, spread evenly over those that hold a segment, or over all.

    Raises ValueError when the SEG lies on other images.
    """
    by_slice = frames_by_slice(volume, segmentation)
    shown = spread(sorted(by_slice) or range(volume.voxels.shape[0]), most)
    legend = legend_of(segmentation) if segmentation else ()
    colours = {entry.number: entry.colour for entry in legend}
    window = _window(volume, by_slice)
    return KeyImages(_pictures(volume, by_slice, shown, colours, window), shown, legend)


def view_images(volumes: Mapping[str, SeriesVolume], most: int) -> KeyImages:
    """Give up to `most` projections, each a picture."""
    pictures = [
        picture
        for volume in list(volumes.values())[:most]
        for picture in key_images(volume, None, 1).pictures
    ]
    return KeyImages(of_one_size(pictures), (0,) * len(pictures), ())


def of_one_size(pictures: Sequence[Any]) -> tuple[Any, ...]:
    """Give the pictures, each on a black ground as large as the largest of them."""
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    made = []
    for picture in pictures:
        ground = Image.new("RGB", (width, height))
        ground.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
        made.append(ground)
    return tuple(made)


def legend_of(segmentation: DecodedSegmentation) -> tuple[LegendEntry, ...]:
    """Give label, colour and volume of each segment, as the SEG has them."""
    counts: dict[int, int] = {}
    for frame in segmentation.frames:
        number = frame.segment_number
        counts[number] = counts.get(number, 0) + int(np.count_nonzero(frame.mask))
    return tuple(
        LegendEntry(
            number=int(item.SegmentNumber),
            label=str(item.SegmentLabel),
            colour=_colour(item.RecommendedDisplayCIELabValue),
            volume_ml=counts.get(int(item.SegmentNumber), 0) * segmentation.voxel_volume_ml,
        )
        for item in segmentation.dataset.SegmentSequence
    )


def frames_by_slice(
    volume: SeriesVolume, segmentation: DecodedSegmentation | None
) -> dict[int, list[SegmentationFrame]]:
    """Give the frames that hold anything, by the slice that they reference."""
    if segmentation is None:
        return {}
    slices = {
        (plane.sop_instance_uid, plane.frame_number): index
        for index, plane in enumerate(volume.source.planes())
    }
    placed: dict[int, list[SegmentationFrame]] = {}
    for frame in segmentation.frames:
        key = frame.plane.sop_instance_uid, frame.plane.frame_number
        size = frame.pixels.rows, frame.pixels.columns
        if key not in slices or size != volume.voxels.shape[1:]:
            raise ValueError("the SEG was drawn on other images")
        if frame.mask.any():
            placed.setdefault(slices[key], []).append(frame)
    return placed


def spread(used: Sequence[int], most: int) -> tuple[int, ...]:
    """Give up to `most` of the slices, evenly."""
    picks = np.linspace(0, len(used) - 1, min(most, len(used)))
    return tuple(int(used[round(pick)]) for pick in picks)


def _window(volume: SeriesVolume, by_slice: Mapping[int, Sequence[SegmentationFrame]]) -> Window:
    rows, columns = volume.voxels.shape[1:]
    if not by_slice:
        return Window(0, rows, 0, columns)
    union = np.zeros((rows, columns), dtype=np.bool_)
    for frames in by_slice.values():
        for frame in frames:
            union |= frame.mask
    return window_around(union, volume.source.planes()[0].spacing_mm, _MARGIN_MM)


def _pictures(
    volume: SeriesVolume,
    by_slice: Mapping[int, Sequence[SegmentationFrame]],
    shown: Sequence[int],
    colours: Mapping[int, Rgb],
    window: Window,
) -> tuple[Any, ...]:
    size = window.size_px(volume.spacing_mm[1:], _TILE_PX)
    darkest, brightest = grey_range([window.of(volume.voxels[index]) for index in shown])
    pictures = []
    for index in shown:
        background = grey(window.of(volume.voxels[index]), darkest, brightest, size)
        cut = {
            frame.segment_number: window.of(frame.mask).astype(np.float32)
            for frame in sorted(by_slice.get(index, ()), key=lambda each: each.segment_number)
        }
        picture = drawn_over(background, cut, colours)
        write_captions(picture, caption_of(volume, index), letters_of(volume, index))
        pictures.append(picture)
    return tuple(pictures)


def caption_of(volume: SeriesVolume, index: int) -> str:
    """Which slice it is; of a projection, which view."""
    if volume.is_projection:
        header = volume.source.first
        view, side = view_of(header), side_of(header)
        told = "projection" if view is None else f"{view} view"
        return f"{told}, {side}" if side in (Side.RIGHT, Side.LEFT) else told
    return f"slice {index + 1} of {volume.voxels.shape[0]}"


def letters_of(volume: SeriesVolume, index: int) -> tuple[str, str]:
    """Patient directions at the left and the upper edge of a slice, '' where they are unknown."""
    if volume.is_projection:
        return edge_letters_of(volume.source.first)
    return edge_letters(volume.source.planes()[index])


def grey_range(slices: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """The values that are shown black and white."""
    values = np.concatenate([pixels.ravel() for pixels in slices])
    darkest, brightest = np.percentile(values, _GREY_PERCENTILES)
    return float(darkest), float(brightest)


def _colour(value: Sequence[int]) -> Rgb:
    red, green, blue = hd.color.CIELabColor.from_dicom_value(tuple(value)).to_rgb(clip=True)
    return int(red), int(green), int(blue)


def write_captions(picture: Any, caption: str, letters: tuple[str, str]) -> None:
    """Write which slice it is and, where they are known, the directions at two edges."""
    draw = ImageDraw.Draw(picture, "RGBA")
    width, height = picture.size
    _write_chip(draw, (12, height - 11), caption, "ls")
    places = ((12, height / 2), "lm"), ((width / 2, 11), "mt")
    for letter, (place, anchor) in zip(letters, places, strict=True):
        if letter:
            _write_chip(draw, place, letter, anchor)


def _write_chip(draw: Any, place: tuple[float, float], text: str, anchor: str) -> None:
    """Write a text on a translucent dark ground, readable on any grey."""
    font = ImageFont.load_default(13)
    left, top, right, bottom = draw.textbbox(place, text, font, anchor=anchor)
    draw.rounded_rectangle((left - 5, top - 4, right + 5, bottom + 4), 4, _CHIP)
    draw.text(place, text, TEXT_COLOUR, font, anchor=anchor)
