"""Slices that a reader should look at first: those on which each structure can be seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.key_images import frames_by_slice, spread
from pipelines.series_volume import SeriesVolume

_Areas = Mapping[int, int]
"""Pixels of each segment that a slice shows."""

MOST_SPREAD = 8
"""As many as the captured key images have; more only for structures that none of these shows."""


def key_slices(volume: SeriesVolume, segmentation: DecodedSegmentation) -> tuple[int, ...]:
    """Give slices (0-based, in order) spread over the structures, on which each segment is seen.

    Raises ValueError when the SEG lies on other images.
    """
    areas = {
        index: {frame.segment_number: int(frame.mask.sum()) for frame in frames}
        for index, frames in frames_by_slice(volume, segmentation).items()
    }
    chosen = set(spread(sorted(areas), MOST_SPREAD))
    missing = _segments(areas, areas) - _segments(areas, chosen)
    while missing:
        best = max(areas, key=lambda index: _shown(areas[index], missing))
        chosen.add(best)
        missing -= areas[best].keys()
    return tuple(sorted(chosen))


def _segments(areas: Mapping[int, _Areas], slices: Iterable[int]) -> set[int]:
    return {number for index in slices for number in areas[index]}


def _shown(areas: _Areas, wanted: Collection[int]) -> tuple[int, int]:
    """How many of the wanted segments a slice shows, and how much of them."""
    found = [area for number, area in areas.items() if number in wanted]
    return len(found), sum(found)
