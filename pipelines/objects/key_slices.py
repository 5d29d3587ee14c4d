"""Slices that a reader should look at first: those on which each structure can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipelines.heat_map import HeatMap
from pipelines.objects.decoded_segmentation import DecodedSegmentation, SegmentationFrame
from pipelines.objects.key_images import frames_by_slice, spread
from pipelines.series_volume import SeriesVolume

MOST_SPREAD = 8
"""As many as the captured key images have; more only for structures that none of these shows."""


def key_slices(volume: SeriesVolume, segmentation: DecodedSegmentation) -> tuple[int, ...]:
    """Give slices (0-based, in order) spread over the structures, on which each segment is seen.

    Raises ValueError when the SEG lies on other images.
    """
    by_slice = frames_by_slice(volume, segmentation)
    chosen = set(spread(sorted(by_slice), MOST_SPREAD))
    missing = _segments(by_slice, by_slice) - _segments(by_slice, chosen)
    while missing:
        best = max(by_slice, key=lambda index: _shown(by_slice[index], missing))
        chosen.add(best)
        missing -= _segments(by_slice, [best])
    return tuple(sorted(chosen))


def heated_slices(volume: SeriesVolume, maps: Sequence[HeatMap]) -> tuple[int, ...]:
    """Give the slices on which heat maps are shown; of a projection, its only one."""
    if volume.is_projection:
        return (0,)
    return tuple(sorted({index for heat in maps for index in heat.shown_slices(MOST_SPREAD)}))


def _segments(
    by_slice: Mapping[int, Sequence[SegmentationFrame]], slices: Iterable[int]
) -> set[int]:
    return {frame.segment_number for index in slices for frame in by_slice[index]}


def _shown(frames: Sequence[SegmentationFrame], wanted: set[int]) -> tuple[int, int]:
    """How many of the wanted segments a slice shows, and how much of them."""
    masks = [frame.mask for frame in frames if frame.segment_number in wanted]
    return len(masks), sum(int(mask.sum()) for mask in masks)
